"""Checkpoints of training: a killed job goes on where it was, and ends with the same bits."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import remove_unfinished
from clustersae.runtime.tensors import check_seal, load_tensors, save_tensors, sealed

logger = logging.getLogger(__name__)

#: Of the time of a training, at most, that its saves may take: those of a wide SAE have gigabytes.
SHARE = 0.1


class Resumable(Protocol):
    """A training that can be put down and taken up again."""

    step_number: int

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: dict[str, Tensor]) -> None: ...


def identity(settings: Any, **data: Any) -> str:
    """A string that two trainings share exactly when they would give the same result.

    Args:
        settings: a dataclass of plain values.
        data: whatever else decides the result.
    """
    return json.dumps({**asdict(settings), **data}, sort_keys=True)


class Checkpoint:
    """One file that holds the latest state of a training; call it after every step.

    Args:
        identity: what is being trained; a file of another identity is ignored.
        every_seconds: time between two saves, the most that a killed job loses; longer where
            saves would take more than SHARE of it.
        elapsed: seconds that this process has spent on the training so far.
        whole: the identity of a training that goes through several jobs, in each of which it has
            an `identity` of its own.
        writes: whether this process is the one that writes, of several that train together.

    Attributes:
        history: rows of history.csv from before the interruption.
        seconds: seconds spent before the interruption.
    """

    def __init__(
        self,
        path: Path,
        identity: str,
        every_seconds: float = 120.0,
        elapsed: Callable[[], float] = time.process_time,
        whole: str = "",
        writes: bool = True,
    ) -> None:
        self.path, self.identity, self.every_seconds = path, identity, every_seconds
        self.elapsed, self.whole, self.writes = elapsed, whole, writes
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._due = time.monotonic() + every_seconds

    def restore(self, trainer: Resumable, before: Path | None = None) -> None:
        """Bring `trainer` to the saved state, if the file holds one of this training.

        Args:
            before: what the job before has handed over, to go on from otherwise.

        Raises:
            InputError: that is damaged, or of another training.
        """
        remove_unfinished(self.path)  # of a process that was killed while it saved
        path = self.path
        found = self._read()
        if found is None and before:
            found, path = self._handed_over(before), before
        if found is None:
            return
        state, metadata = found
        trainer.load_state(state)
        self.history = json.loads(metadata["history"])
        self.seconds = float(metadata["seconds"])
        logger.info("Going on at step %d from %s", trainer.step_number, path)

    def _handed_over(self, path: Path) -> tuple[dict, Mapping[str, str]]:
        remedy = f"Delete the folder {path.parent} and run again."
        try:
            state, metadata = load_tensors(path)
            check_seal(path, state, metadata)
        except InputError as error:
            raise InputError(f"This training cannot go on: {error} {remedy}") from None
        if metadata.get("identity") != self.whole:
            raise InputError(
                f"This training cannot go on: {path} is of another configuration, another version"
                f" or another way of doing its steps. {remedy}"
            )
        return state, metadata

    def _read(self) -> tuple[dict, Mapping[str, str]] | None:
        if not self.path.exists():
            return None
        try:
            state, metadata = load_tensors(self.path)
            check_seal(self.path, state, metadata)
        except InputError as error:
            logger.warning("Training starts anew: %s", error)
            return None
        if metadata.get("identity") != self.identity:
            logger.warning(
                "Training starts anew: %s is of another configuration, other activations, another"
                " version or another way of doing its steps.",
                self.path,
            )
            return None
        return state, metadata

    def due(self) -> bool:
        return time.monotonic() >= self._due

    def __call__(self, trainer: Resumable, history: list[dict[str, Any]]) -> None:
        if self.due():
            self.save(trainer, history)

    def save(self, trainer: Resumable, history: list[dict[str, Any]]) -> None:
        began = time.monotonic()
        self._write(self.path, self.identity, trainer, history)
        saved = time.monotonic()
        self._due = saved + max(self.every_seconds, (saved - began) * (1 / SHARE - 1))

    def hand_over(self, trainer: Resumable, history: list[dict[str, Any]], path: Path) -> None:
        """Save the end of this job for the next one to `path`."""
        self._write(path, self.whole, trainer, history)

    def _write(
        self, path: Path, identity: str, trainer: Resumable, history: list[dict[str, Any]]
    ) -> None:
        metadata = {
            "identity": identity,
            "history": json.dumps(self.history + history),
            "seconds": str(self.seconds + self.elapsed()),
        }
        state = trainer.state()  # by all processes, each of which has a part
        if not self.writes:
            return
        save_tensors(path, state, sealed(state, metadata), with_checksums=True)
