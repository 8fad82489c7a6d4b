"""One SAE on several devices learns what it learns on one; CPU processes stand for devices."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import synthetic_shards
import torch
from snakemake_project import REPOSITORY
from spread_training import CPU, outcome, outcomes
from synthetic_shards import D_SAE, K, all_layers, of_layers

from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors
from clustersae.runtime.together import together_on
from clustersae.sae.fitting import fit
from clustersae.sae.preparing import fit_on
from clustersae.sae.sharded import ShardedTrainer
from clustersae.sae.training import Diverged

#: 33 latents are spread unevenly, and with 20 of them active some process has fewer than that.
SETTINGS = replace(
    synthetic_shards.SETTINGS,
    **{"d_sae": 33, "n_steps": 60, "learning_rate": 3e-3, "warmup_steps": 5, "decay_steps": 12},
    **{"dead_after": 256, "max_grad_norm": 0.1, "seed": 0},
)


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


def test_several_processes_learn_what_one_learns_and_take_up_its_state():
    steps, more = range(40), range(20, 40)
    dense = replace(SETTINGS, k=20)
    before, _ = outcome(SETTINGS, range(20))
    cases = [(SETTINGS, steps), (dense, steps), (SETTINGS, more, before)]
    alone = [outcome(*case) for case in cases]
    assert alone[0][1]["dead_fraction"] > 0.1, "AuxK has something to do"
    with together_on([CPU] * 3, partial(outcomes, cases)) as together:
        found = outcomes(cases, where=CPU, together=together)
    for (state, told), (expected, said) in zip(found, alone, strict=True):
        close(state, expected)
        assert told == pytest.approx(said, rel=1e-4)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """Arguments of `fit` but for its files."""
    data = of_layers(all_layers(tmp_path_factory.mktemp("activations")), (0, 1))
    settings = replace(SETTINGS, d_sae=D_SAE, k=K)
    return {"data": data, "settings": settings, "label": "SAE", "keep": True}


def test_a_fit_on_two_devices_is_that_on_one_also_after_one_that_diverged(training, tmp_path):
    one = fit(where=CPU, checkpoint_file=tmp_path / "one", **training)
    wild = training | {"settings": replace(training["settings"], learning_rate=1e30)}
    with pytest.raises(Diverged, match="SAE training diverged"):
        fit_on([CPU, CPU], checkpoint_file=tmp_path / "wild", **wild)
    two = fit_on([CPU, CPU], checkpoint_file=tmp_path / "two", **training)
    for name, weights in one.sae.state_dict().items():
        torch.testing.assert_close(two.sae.state_dict()[name], weights, rtol=1e-3, atol=1e-5)
    assert two.record["step"] == "sharded over 2"
    assert [row["step"] for row in two.history] == [row["step"] for row in one.history]
    assert two.history[-1]["fvu"] == pytest.approx(one.history[-1]["fvu"], rel=1e-4)
    again = fit_on([CPU, CPU], checkpoint_file=tmp_path / "two", **training)
    assert again.record["resumed_at_step"] == SETTINGS.n_steps
    assert all(map(torch.equal, again.sae.state_dict().values(), two.sae.state_dict().values()))


def asked_at(step, agree=ShardedTrainer.agree):
    """`agree` of a process that is sent a signal after that step."""

    def asked(trainer, due, asked_by):
        if trainer.step_number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return agree(trainer, due, asked_by)

    return asked


def test_a_warning_to_the_first_process_saves_the_step_of_all(training, tmp_path, monkeypatch):
    file = tmp_path / "checkpoint"
    long = training | {"settings": replace(training["settings"], n_steps=200_000)}
    monkeypatch.setattr(ShardedTrainer, "agree", asked_at(40))
    with pytest.raises(SystemExit) as stopped:
        fit_on([CPU, CPU], checkpoint_file=file, **long)
    assert stopped.value.code == 128 + signal.SIGTERM
    state, _ = load_tensors(file)
    assert state["steps"][0] == 48, "the next step at which processes agree"
    assert state["silent_for"].shape == (D_SAE,)


def test_if_one_process_dies_the_first_does_not_wait_for_it():
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "spread_training"],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}/workflow/scripts:{REPOSITORY}/tests"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert time.monotonic() - began < 100
    assert result.returncode == 1, result.stderr
    assert "error: The process of cpu has ended (3" in result.stderr


def test_what_cannot_be_spread_is_refused(training, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", None)  # before any process
    gated = training | {"settings": replace(training["settings"], architecture="gated")}
    with pytest.raises(InputError, match="architecture gated is trained on one device"):
        fit_on([CPU, CPU], checkpoint_file=tmp_path / "gated", **gated)
    joint = training | {"settings": replace(training["settings"], layers_at_once=2)}
    with pytest.raises(InputError, match="architecture crosscoder is trained on one device"):
        fit_on([CPU, CPU], checkpoint_file=tmp_path / "joint", **joint)
    narrow = training | {"settings": replace(training["settings"], d_sae=4, k=1)}
    with pytest.raises(InputError, match="4 latents cannot be spread over 3"):
        fit_on([CPU] * 3, checkpoint_file=tmp_path / "narrow", **narrow)
