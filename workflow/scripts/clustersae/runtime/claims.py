"""Which of a machine's devices a process takes: those that the fewest others have claimed."""

import fcntl
import itertools
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

_claims: list[TextIO] = []  # open lock files; the claim lasts as long as the process


def different(names: Sequence[str], n: int, folder: str | Path | None = None) -> list[int]:
    """Claim `n` devices, none of them twice; see `claim`."""
    left = list(range(len(names)))
    return [left.pop(claim([names[each] for each in left], folder)) for _ in range(n)]


def claim(names: Sequence[str], folder: str | Path | None = None) -> int:
    """The index of a device that no living process has claimed, the first of them.

    Where all are taken, since more jobs run at once than there are GPUs (`--resources gpu=N` says
    how many may), jobs share them evenly, and the log says so.

    Args:
        names: of the devices, the same for every process of the machine.
    """
    folder = Path(folder or tempfile.gettempdir())
    for others in itertools.count():
        for index, name in enumerate(names):
            place = folder / f"clustersae-gpu-{os.getuid()}-{name}-{others}.lock"
            file = open(place, "w")  # noqa: SIM115
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _claims.append(file)
            if others:
                logger.warning(
                    "All %d GPUs are taken: this job shares GPU %s with %d others, as"
                    " --resources gpu allows.",
                    *(len(names), name, others),
                )
            return index
    raise AssertionError("unreachable: somebody would have to hold every number")


def names_of(count: int) -> list[str]:
    """What the devices that this process sees are called by the whole machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [re.sub(r"[^\w-]", "", name) for name in visible.split(",")]
    # PyTorch sees fewer where the list has a device that does not exist.
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]
