"""Where tensors live: the CPU, or the GPU that the fewest jobs of this machine have claimed."""

import fcntl
import itertools
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import torch

from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)

_claims: list[TextIO] = []  # open lock files; the claim lasts as long as the process


def choose(gpus: int = 0) -> torch.device:
    """The device for a job that was granted `gpus` GPUs and uses one: the first of `choose_all`."""
    return choose_all(min(gpus, 1))[0]


def choose_all(gpus: int = 0) -> list[torch.device]:
    """The devices for a job that was granted `gpus` GPUs; the CPU where there are none.

    Snakemake counts GPUs but does not hand them out, so where a job sees several (SLURM shows it
    just its own) it claims one by a file lock. The lock vanishes with the process, however it ends.
    Only those in CUDA_VISIBLE_DEVICES are seen, and nothing is allocated on any but the claimed.
    """
    if gpus < 1 or not torch.cuda.is_available():
        return [torch.device("cpu")]
    count = torch.cuda.device_count()
    if gpus > count:
        raise InputError(
            f"This job was granted {gpus} GPUs, and this machine has {count}: an SAE is spread over"
            f" the GPUs of one machine. Give it {count} at most (--set-resources RULE:gpu={count})."
        )
    indices = different(_names(count), gpus) if count > 1 else [0]
    # Streams and graphs that name no device go to the current one.
    torch.cuda.set_device(indices[0])
    return [torch.device("cuda", index) for index in indices]


def different(names: Sequence[str], n: int, folder: str | Path | None = None) -> list[int]:
    """Claim `n` devices, none of them twice; see `claim`."""
    left = list(range(len(names)))
    return [left.pop(claim([names[each] for each in left], folder)) for _ in range(n)]


def upload(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
    """`tensor` on the device `where`; nobody waits for what a GPU is busy with."""
    if where.type == "cuda":
        tensor = tensor.pin_memory()  # only from such memory are copies made in passing
    return tensor.to(where, non_blocking=True)


def free_bytes(where: torch.device) -> int:
    """Of a GPU's memory, what PyTorch holds ready for this process included."""
    free, _ = torch.cuda.mem_get_info(where)
    return free + torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)


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


def _names(count: int) -> list[str]:
    """What the devices that this process sees are called by the whole machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [re.sub(r"[^\w-]", "", name) for name in visible.split(",")]
    # PyTorch sees fewer where the list has a device that does not exist.
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]
