"""Where tensors live: the CPU, or one GPU that no other job of this machine has claimed."""

import fcntl
import os
import tempfile
from pathlib import Path

import torch

_claims = []  # open lock files; the claim lasts as long as the process


def choose(gpus: int = 0) -> torch.device:
    """The device for a job that was granted `gpus` GPUs.

    Snakemake counts GPUs but does not hand them out, so with several GPUs in one machine each job
    claims one by a file lock, unless CUDA_VISIBLE_DEVICES (set by SLURM, say) already names it.
    The lock vanishes with the process, however it ends.
    """
    if gpus < 1 or not torch.cuda.is_available():
        return torch.device("cpu")
    if "CUDA_VISIBLE_DEVICES" in os.environ or torch.cuda.device_count() == 1:
        return torch.device("cuda")
    return torch.device("cuda", claim(torch.cuda.device_count()))


def claim(count: int, folder: str | Path | None = None) -> int:
    """The lowest of `count` indices that no living process has claimed; 0 if all are taken."""
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
    return 0
