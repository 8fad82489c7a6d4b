"""What test_triton.py runs in Triton's interpreter, beside tests/gpu/test_triton_on_gpu.py."""

import gc
import weakref

import pytest
import torch
from gpu.test_sae_on_gpu import normal
from gpu.test_triton_on_gpu import SETTINGS, STEP_SHAPES, by_triton, trained
from pretended_gpu import DEVICE, PretendedGPU
from sae_settings_of import topk_settings

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime import graphs
from clustersae.runtime.checkpoint import Checkpoint, identity
from clustersae.runtime.graphs import WARM_CALLS
from clustersae.sae import training, triton_kernels, triton_step
from clustersae.sae.eager import EagerStep
from clustersae.sae.triton_step import triton_step as chosen

SHAPE = STEP_SHAPES[0]
CPU = torch.device("cpu")
N_STEPS = 10


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(graphs, "aside", lambda function: function())  # there are no streams
    triton_step._tried.cache_clear()
    yield
    triton_step._tried.cache_clear()


@pytest.mark.parametrize("halves", [False, True])
def test_recorded_steps_wait_for_nothing_and_have_the_bits_of_single_ones(monkeypatch, halves):
    """But for the look at dead latents; from the 9th step on AuxK teaches some."""
    monkeypatch.setattr(training, "DEAD_REFRESH_STEPS", 4)
    choose = by_triton(triton_kernels, halves=halves)
    expected = trained(CPU, choose, N_STEPS, SHAPE).state()
    recorded, waits = [], []
    with PretendedGPU() as gpu:

        def record(function):
            recorded.append(len(waits))
            return gpu.record(function)

        monkeypatch.setattr(graphs, "record", record)
        choose = by_triton(triton_kernels, halves=halves, recorded=True)
        trainer = trained(DEVICE, choose, 0, SHAPE)
        for step in range(N_STEPS):
            batch = normal(SETTINGS["batch_size"], SHAPE[0], seed=step).to(DEVICE)
            gpu.waits.clear()
            trainer.step(batch)
            waits.append(tuple(gpu.waits))
        found = {name: value.cpu() for name, value in trainer.state().items()}
    assert recorded == [WARM_CALLS] * 2  # the one half of a step, and the other
    looks = [step for step, names in enumerate(waits) if names]
    assert looks == [0, 4, 8]
    assert {waits[step] for step in looks} == {("aten.nonzero.default",)}
    assert len(found["dead"])
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_nothing_of_a_step_stays_in_memory():
    """Graphs and moments hold a GPU's memory, and garbage is not collected for that."""
    gc.disable()
    try:
        with PretendedGPU() as gpu:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(graphs, "record", gpu.record)
                choose = by_triton(triton_kernels, recorded=True)
                trainer = trained(DEVICE, choose, WARM_CALLS + 2, SHAPE)
            step = weakref.ref(trainer.optimise)
            del trainer
            assert step() is None
    finally:
        gc.enable()


def test_a_batch_of_another_size_is_another_recording(monkeypatch):
    sizes = [8] * 5 + [3] * 5 + [8]
    with PretendedGPU() as gpu:
        monkeypatch.setattr(graphs, "record", gpu.record)
        ours = trained(DEVICE, by_triton(triton_kernels, halves=False, recorded=True), 0, SHAPE)
        plain = trained(DEVICE, EagerStep, 0, SHAPE)
        for step, size in enumerate(sizes):
            batch = normal(size, SHAPE[0], seed=step).to(DEVICE)
            ours.step(batch)
            plain.step(batch)
        for name, weight in plain.sae.named_parameters():
            found = getattr(ours.sae, name)
            torch.testing.assert_close(found.cpu(), weight.cpu(), rtol=1e-4, atol=1e-6)


def settings(**change) -> SAESettings:
    return topk_settings(SHAPE[1], SHAPE[2], **(SETTINGS | change))


def test_a_machine_where_the_trial_goes_well_trains_by_triton():
    step = chosen(trained(CPU, EagerStep, 0, SHAPE).sae, settings())
    assert step is not None
    assert (step.name, step.halves, step.recorded) == ("triton", True, False)


@pytest.mark.parametrize("broken", ["update", "reconstruct", "sum_entries"])
def test_kernels_that_learn_other_weights_are_not_used(monkeypatch, caplog, broken):
    """As a compiler's fault might be: nothing fails, and numbers are wrong."""
    working = getattr(triton_kernels, broken)

    def wrong(*given):
        made = working(*(each.clone() if torch.is_tensor(each) else each for each in given))
        return made if made is None else (-made[0], *made[1:])

    monkeypatch.setattr(triton_kernels, broken, wrong)
    with caplog.at_level("INFO"):
        assert chosen(trained(CPU, EagerStep, 0, SHAPE).sae, settings()) is None
    assert "without Triton's kernels" in caplog.text
    assert "of its way off" in caplog.text


def test_a_checkpoint_of_another_kind_of_step_is_not_continued(tmp_path):
    """As `fit` identifies them: by the name of the step."""
    file = tmp_path / "checkpoint.safetensors"
    ours = trained(CPU, by_triton(triton_kernels), 2, SHAPE)
    Checkpoint(file, identity(settings(), step=ours.optimise.name)).save(ours, [])
    same, other = (
        trained(CPU, by_triton(triton_kernels), 0, SHAPE),
        trained(CPU, EagerStep, 0, SHAPE),
    )
    for trainer, n_steps in ((same, 2), (other, 0)):
        Checkpoint(file, identity(settings(), step=trainer.optimise.name)).restore(trainer)
        assert trainer.step_number == n_steps
    assert ours.optimise.state().keys() != other.optimise.state().keys()
