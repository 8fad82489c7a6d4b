"""Training on a GPU: when it waits, what it learns, and what is compiled for it."""

import gc
import weakref
from itertools import islice

import numpy as np
import pytest
import torch
from pretended_gpu import DEVICE, PretendedGPU
from tiny_training import SETTINGS, interrupted, network, settings, text
from torch._dynamo.testing import CompileCounter

from clustersae.pretraining import batches, compiling, training
from clustersae.pretraining.batches import Stream
from clustersae.pretraining.compiling import with_compiled_blocks
from clustersae.pretraining.loss import full_row_losses
from clustersae.pretraining.training import Trainer, train
from clustersae.runtime import graphs
from clustersae.runtime.checkpoint import Checkpoint
from clustersae.runtime.errors import InputError


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


@pytest.fixture
def gpu_with_graphs(monkeypatch):
    with PretendedGPU() as gpu:
        monkeypatch.setattr(graphs, "can_record", lambda device: device == DEVICE)
        monkeypatch.setattr(graphs, "aside", lambda function: function())
        monkeypatch.setattr(graphs, "record", gpu.record)
        # Nothing is compiled for a GPU that is only pretended.
        monkeypatch.setattr(compiling, "check_compiler", lambda: None)
        monkeypatch.setattr(compiling, "with_compiled_blocks", lambda: full_row_losses)
        yield gpu


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_recorded_steps_learn_what_single_ones_learn(gpu_with_graphs, monkeypatch, dropout):
    """With a rate that changes at every step, and evaluations in between."""
    recorded = []
    monkeypatch.setattr(graphs, "record", lambda f: recorded.append(f) or gpu_with_graphs.record(f))
    models = [network(dropout).to(DEVICE) for _ in range(2)]
    single, graph = (
        train(model, text(), text(9, 1), settings(compile=compile), None)
        for model, compile in zip(models, (False, True))
    )
    assert len(recorded) == 2  # a step, and the loss at evaluations
    # Rates are rounded to float32 in a graph, and Adam makes much of small gradients.
    close = {"rtol": 1e-3, "atol": 1e-3} if dropout else {"rtol": 1e-5, "atol": 1e-5}
    for one, other in zip((*graph.curve, *graph.logged), (*single.curve, *single.logged)):
        np.testing.assert_allclose(one, other, **close)
    for weight, other in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(weight.cpu(), other.cpu(), **close)


def test_a_recorded_training_is_taken_up_where_it_was(gpu_with_graphs, tmp_path):
    path, given = tmp_path / "checkpoint.safetensors", settings(compile=True)
    models = [network(0.2).to(DEVICE) for _ in range(2)]
    whole = train(models[0], text(), text(9, 1), given, None)
    interrupted(path, 7, given, network(0.2).to(DEVICE))
    checkpoint = Checkpoint(path, "same")
    resumed = train(models[1], text(), text(9, 1), given, None, checkpoint=checkpoint)
    assert resumed.resumed_at == 7
    for one, other in zip(resumed.curve, whole.curve):
        assert one == pytest.approx(other, rel=1e-5)
    for weight, other in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(weight.cpu(), other.cpu())


def test_nothing_of_a_training_stays_in_memory(monkeypatch):
    """Moments and graphs hold a GPU's memory, and garbage is not collected for that."""
    made = []

    class Watched(Trainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(training, "Trainer", Watched)
    gc.disable()
    try:
        model = network()
        train(model, text(), text(9, 1), settings(), None)
        assert made[0]() is None
        assert all(weight.grad is None for weight in model.parameters())
    finally:
        gc.enable()


def test_a_block_compiles_in_one_piece():
    """Without a break in its graph. The compiler itself is of use on a GPU only, and not run."""
    model, tokens = network(), text(4)
    losses = with_compiled_blocks(backend="eager", fullgraph=True)
    assert torch.allclose(losses(model, tokens), full_row_losses(model, tokens), atol=1e-6)


def test_all_blocks_share_one_graph_to_train_and_one_to_evaluate(monkeypatch):
    counter = CompileCounter()
    losses = with_compiled_blocks(backend=counter, fullgraph=True)
    expected = train(network(0.2), text(), text(9, 1), settings(dtype="bfloat16"), None)
    monkeypatch.setattr(training, "choose_losses", lambda *_: losses)
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
    monkeypatch.setattr(compiling.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    asked = settings(compile=True), None, torch.device("cuda")
    with pytest.raises(InputError, match=r"needs Python's headers, and .*Python\.h is not there"):
        compiling.compiles(*asked)
    (tmp_path / "Python.h").touch()
    assert compiling.compiles(*asked)
    compiler.unlink()
    with pytest.raises(InputError, match="needs a C compiler"):
        compiling.compiles(*asked)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_compiled_training_on_a_gpu_learns_what_the_cpu_learns():
    expected = train(network(), text(), text(9, 1), settings(), None)
    compiled = train(network().to("cuda"), text(), text(9, 1), settings(compile=True), None)
    for one, other in zip(compiled.curve, expected.curve):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
    assert compiled.logged[0][1] == pytest.approx(expected.logged[0][1], rel=1e-4)
