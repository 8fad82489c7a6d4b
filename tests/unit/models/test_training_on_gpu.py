"""Training on a GPU: when it waits, what it learns, and what is compiled for it."""

from itertools import islice

import pytest
import torch
from pretended_gpu import DEVICE, PretendedGPU
from tiny_training import SETTINGS, interrupted, network, settings, text
from torch._dynamo.testing import CompileCounter

from clustersae.checkpoint import Checkpoint
from clustersae.errors import InputError
from clustersae.models import batches, training
from clustersae.models.batches import Stream
from clustersae.models.loss import full_row_losses
from clustersae.models.training import Trainer, train


def test_a_gpu_is_waited_for_only_where_losses_are_read(monkeypatch):
    """Once per split at an evaluation and once for the training loss; never for a step."""
    monkeypatch.setattr(batches, "STEPS_AT_ONCE", 4)
    with PretendedGPU() as gpu:
        model = network(0.2).to(DEVICE).train()
        sources = [Stream(text(), None, DEVICE), Stream(text(9, 1), None, DEVICE)]
        trainer = Trainer(model, *sources, settings(dtype="bfloat16"), None)
        waits = []
        gpu.waits.clear()
        for batch in islice(sources[0].training(4, 1337, 0), SETTINGS["steps"]):
            trainer.step(batch)
            waits.append(len(gpu.waits))
            gpu.waits.clear()
    assert waits == [0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 3]


def test_a_training_on_a_gpu_learns_what_the_cpu_learns(tmp_path):
    """And is taken up there after it was killed."""
    path = tmp_path / "checkpoint.safetensors"
    expected = train(network(), text(), text(9, 1), settings(), None)
    with PretendedGPU():
        interrupted(path, 7, settings(), network().to(DEVICE))
        learning = train(
            network().to(DEVICE),
            *(text(), text(9, 1), settings(), None),
            checkpoint=Checkpoint(path, "same"),
        )
    assert (learning.resumed_at, len(learning.curve)) == (7, len(expected.curve))
    for one, other in zip(learning.curve, expected.curve):
        assert one == pytest.approx(other, rel=1e-4)
    for one, other in zip(learning.logged, expected.logged):
        assert one == pytest.approx(other, rel=1e-4)


def test_the_network_compiles_in_one_piece():
    """Without a break in its graph. The compiler itself is of use on a GPU only, and not run."""
    model, tokens = network(), text(4)
    compiled = torch.compile(full_row_losses, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(model, tokens), full_row_losses(model, tokens), atol=1e-6)


def test_a_training_compiles_one_graph_to_train_and_one_to_evaluate(monkeypatch):
    counter = CompileCounter()
    compiled = torch.compile(full_row_losses, backend=counter, fullgraph=True)
    expected = train(network(0.2), text(), text(9, 1), settings(dtype="bfloat16"), None)
    monkeypatch.setattr(training, "_losses", lambda *_: compiled)
    torch.compiler.reset()
    learning = train(network(0.2), text(), text(9, 1), settings(dtype="bfloat16"), None)
    assert len(learning.curve) == 3
    assert counter.frame_count == 2
    assert learning.best.validation_loss == pytest.approx(expected.best.validation_loss, rel=1e-3)


def test_compiling_without_its_tools_is_refused_before_the_first_step(monkeypatch, tmp_path):
    compiler = tmp_path / "gcc"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(training.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    asked = settings(compile=True), None, torch.device("cuda")
    with pytest.raises(InputError, match=r"needs Python's headers, and .*Python\.h is not there"):
        training._losses(*asked)
    (tmp_path / "Python.h").touch()
    assert callable(training._losses(*asked))
    compiler.unlink()
    with pytest.raises(InputError, match="needs a C compiler"):
        training._losses(*asked)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_compiled_training_on_a_gpu_learns_what_the_cpu_learns():
    expected = train(network(), text(), text(9, 1), settings(), None)
    compiled = train(network().to("cuda"), text(), text(9, 1), settings(compile=True), None)
    for one, other in zip(compiled.curve, expected.curve):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
    assert compiled.logged[0][1] == pytest.approx(expected.logged[0][1], rel=1e-4)
