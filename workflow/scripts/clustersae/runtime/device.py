"""Where tensors live: the CPU, or the GPU that the fewest jobs of this machine have claimed."""

import torch

from clustersae.runtime.claims import different, names_of
from clustersae.runtime.errors import InputError


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
    indices = different(names_of(count), gpus) if count > 1 else [0]
    # Streams and graphs that name no device go to the current one.
    torch.cuda.set_device(indices[0])
    return [torch.device("cuda", index) for index in indices]


def upload(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
    """`tensor` on the device `where`; nobody waits for what a GPU is busy with."""
    if where.type == "cuda":
        tensor = tensor.pin_memory()  # only from such memory are copies made in passing
    return tensor.to(where, non_blocking=True)


def free_bytes(where: torch.device) -> int:
    """Of a GPU's memory, what PyTorch holds ready for this process included."""
    free, _ = torch.cuda.mem_get_info(where)
    return free + torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
