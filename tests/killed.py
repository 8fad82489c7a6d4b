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
    step, n_done = Trainer.step, 0

    def step_until_killed(trainer, batch):
        nonlocal n_done
        if n_done == n_steps:
            raise Killed
        n_done += 1
        step(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step_until_killed)
        patch.setattr(Checkpoint, "due", lambda _: True)
        with pytest.raises(Killed):
            job()
