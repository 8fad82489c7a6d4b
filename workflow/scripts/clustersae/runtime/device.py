"""Where tensors live: the CPU, or one GPU that no other job of this machine has claimed."""

import fcntl
import logging
import os
import tempfile
from pathlib import Path
from typing import TextIO

import torch

logger = logging.getLogger(__name__)

_claims: list[TextIO] = []  # open lock files; the claim lasts as long as the process


def choose(gpus: int = 0) -> torch.device:
    """The device for a job that was granted `gpus` GPUs.

    Snakemake counts GPUs but does not hand them out, so where a job sees several (SLURM shows it
    just its own) it claims one by a file lock. The lock vanishes with the process, however it ends.
    """
    if gpus < 1 or not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    index = claim(count) if count > 1 else 0
    # Streams and graphs that name no device go to the current one.
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def upload(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
    """`tensor` on the device `where`; nobody waits for what a GPU is busy with."""
    if where.type == "cuda":
        tensor = tensor.pin_memory()  # only from such memory are copies made in passing
    return tensor.to(where, non_blocking=True)


def claim(count: int, folder: str | Path | None = None) -> int:
    """The lowest of `count` indices that no living process has claimed.

    If all are taken, more jobs run than there are GPUs (`--resources gpu=N` says how many there
    are): the first is then shared, and the log says so.
    """
    folder = Path(folder or tempfile.gettempdir())
    for index in range(count):
        file = open(folder / f"clustersae-gpu-{os.getuid()}-{index}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _claims.append(file)
        return index
    logger.warning("All %d GPUs are taken; sharing the first. Is --resources gpu right?", count)
    return 0
