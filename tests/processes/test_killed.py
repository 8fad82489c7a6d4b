"""Whatever ends a training, the next start ends in the bits of an undisturbed one."""

import os
import random
import signal
import time
from dataclasses import replace
from functools import partial

import pytest
import synthetic_shards
import torch
from every_architecture import settings_of
from synthetic_shards import all_layers, of_layers

from clustersae.runtime.checkpoint import Checkpoint
from clustersae.runtime.tensors import checksum, load_tensors
from clustersae.sae import fitting
from clustersae.sae.registry import ARCHITECTURES

LONG = pytest.mark.long
SETTINGS = replace(synthetic_shards.SETTINGS, n_steps=300, decay_steps=60)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return of_layers(all_layers(tmp_path_factory.mktemp("activations")), (0,))


def fit(data, file, every_seconds, monkeypatch, settings=SETTINGS):
    monkeypatch.setattr(fitting, "Checkpoint", partial(Checkpoint, every_seconds=every_seconds))
    return fitting.fit(data, settings, file, "SAE", torch.device("cpu"), keep=True)


def start(run) -> int:
    """`run` in a child process of one thread; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        run()
        code = 0
    except SystemExit as error:
        code = error.code
    finally:
        os._exit(code)  # no fixture, no report of pytest is the child's to finish


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", [name if name == "topk" else pytest.param(name, marks=LONG) for name in ARCHITECTURES]
)
def test_thirty_kills_leave_no_trace(name, data, tmp_path, monkeypatch, one_thread):
    settings = settings_of(name, SETTINGS)
    undisturbed = fit(data, tmp_path / "undisturbed", 1e9, monkeypatch, settings)
    expected = checksum(undisturbed.sae.state_dict())
    draw, kills, finished = random.Random(0), 0, 0
    file = tmp_path / "checkpoint.safetensors"
    while kills < 30 or not finished:
        child = start(lambda: fit(data, file, 0.0, monkeypatch, settings))
        time.sleep(draw.uniform(0.0, 0.5) if kills < 30 else 30)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            finished += 1
            found = fit(data, file, 1e9, monkeypatch, settings)
            assert found.record["resumed_at_step"] == SETTINGS.n_steps
            assert checksum(found.sae.state_dict()) == expected
            file.unlink()
    fit(data, file, 1e9, monkeypatch, settings)
    assert sorted(each.name for each in tmp_path.iterdir()) == [file.name, "undisturbed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_warning_saves_the_step_and_ends_the_job(data, tmp_path, monkeypatch, one_thread, number):
    """No checkpoint is due for a long time: what is found was saved because of the signal."""
    expected = checksum(fit(data, tmp_path / "undisturbed", 1e9, monkeypatch).sae.state_dict())
    file = tmp_path / "checkpoint.safetensors"
    long = replace(SETTINGS, n_steps=200_000)
    step = fitting.train

    def tell_and_train(*arguments):
        (tmp_path / "training").touch()
        return step(*arguments)

    monkeypatch.setattr(fitting, "train", tell_and_train)
    child = start(lambda: fit(data, file, 1e9, monkeypatch, long))
    give_up = time.monotonic() + 60
    while not (tmp_path / "training").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + number
    state, _ = load_tensors(file)
    saved = int(state["steps"][0])
    assert 0 < saved < long.n_steps

    # The same, on a training that ends: it is asked to stop after its first steps.
    file.unlink()
    monkeypatch.setattr(fitting, "train", step)

    def ask(trainer, batches, label, after_step, until):
        def after(trainer, history):
            if trainer.step_number == 7:
                os.kill(os.getpid(), number)
            after_step(trainer, history)

        return step(trainer, batches, label, after, until)

    monkeypatch.setattr(fitting, "train", ask)
    with pytest.raises(SystemExit) as stopped:
        fit(data, file, 1e9, monkeypatch)
    assert stopped.value.code == 128 + number
    monkeypatch.setattr(fitting, "train", step)
    resumed = fit(data, file, 1e9, monkeypatch)
    assert resumed.record["resumed_at_step"] in (7, 8)
    assert checksum(resumed.sae.state_dict()) == expected


def test_signals_mean_what_they_did_after_a_training(data, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    fit(data, tmp_path / "checkpoint", 1e9, monkeypatch, replace(SETTINGS, n_steps=3))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before
