"""A training that dies on the way, as where a machine is switched off."""

from collections.abc import Callable
from typing import Any

import pytest

from clustersae.runtime.checkpoint import Checkpoint
from clustersae.sae.training import Trainer


class Killed(Exception):
    pass


def killed_after(n_steps: int, monkeypatch: pytest.MonkeyPatch, job: Callable[[], Any]) -> None:
    """Run `job`, which saves after every step, until `n_steps` are done."""
    step, done = Trainer.step, []

    def step_until_killed(trainer, batch):
        if len(done) == n_steps:
            raise Killed
        done.append(trainer.step_number)
        step(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step_until_killed)
        patch.setattr(Checkpoint, "due", lambda _: True)
        with pytest.raises(Killed):
            job()
