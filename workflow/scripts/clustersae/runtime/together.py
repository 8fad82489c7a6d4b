"""Several processes that do one job together, each with a device of its own."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from clustersae.runtime.job import lives

#: Seconds between two looks at whether all processes are alive.
LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Together:
    """What one of the processes knows of all; tensors of a rank lie on its device.

    What is said of placements is that of PyTorch's DTensor. All ranks call the same methods in the
    same order.
    """

    mesh: DeviceMesh

    @property
    def size(self) -> int:
        return self.mesh.size()

    @property
    def rank(self) -> int:
        """Of this process; 0 is the one that started the others."""
        return self.mesh.get_rank()

    def own(self, whole: torch.Tensor, dim: int) -> torch.Tensor:
        """This rank's part of a tensor that every rank has."""
        placed = distribute_tensor(whole, self.mesh, [Shard(dim)], src_data_rank=None)
        return placed.to_local().clone()

    def whole(self, own: torch.Tensor, dim: int, size: int) -> torch.Tensor:
        """What `own` of all ranks is part of, which has `size` along `dim`."""
        rows = own.movedim(dim, 0).contiguous()
        shape = torch.Size([size, *rows.shape[1:]])
        stride = torch.empty(shape, device="meta").stride()
        placed = DTensor.from_local(rows, self.mesh, [Shard(0)], shape=shape, stride=stride)
        return placed.full_tensor().movedim(0, dim)

    def beside(self, own: torch.Tensor) -> torch.Tensor:
        """Matrices [n, c] of all ranks, which are of one size, beside each other: [n, size · c]."""
        return DTensor.from_local(own, self.mesh, [Shard(1)]).full_tensor()

    def sum(self, own: torch.Tensor) -> torch.Tensor:
        """Over all ranks; what is made of it by all alike passes its gradient on to each."""
        return DTensor.from_local(own, self.mesh, [Partial()]).full_tensor()

    def alike(self, same: torch.Tensor) -> torch.Tensor:
        """A tensor that all ranks have alike; its gradient is the sum of those of the ranks."""
        placed = DTensor.from_local(same, self.mesh, [Replicate()])
        return placed.to_local(grad_placements=[Partial()])

    def agree(self, due: bool, asked_by: int | None) -> tuple[bool, int | None]:
        """What rank 0 says: whether to save, and the number of the signal that ends the job."""
        told = torch.tensor([due, asked_by or 0], device=self.mesh.device_type)
        distributed.broadcast(told, 0)
        due, number = told.tolist()
        return bool(due), number or None


@contextmanager
def together_on(devices: Sequence[torch.device], work: Callable[..., Any]) -> Iterator[Together]:
    """Have `work(where=, together=)` done by one more process for each device but the first.

    The caller does the same as rank 0. If one of the others fails, this process ends as well: what
    it waits for will not come.

    Args:
        devices: all on one machine; CPUs stand for as many processes.
        work: a function of a module, or a `partial` of one, whose arguments can be sent.
    """
    start = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="clustersae-") as folder:
        meeting = str(Path(folder) / "meeting")
        ranks = range(1, len(devices))
        others = [
            start.Process(
                target=_beside, args=(work, devices, rank, meeting, os.getpid()), daemon=True
            )
            for rank in ranks
        ]
        for each in others:
            each.start()
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(others, devices, done), daemon=True)
        watch.start()
        try:
            with _meeting(devices, 0, meeting) as all_of_them:
                yield all_of_them
            for each in others:
                each.join()
        finally:
            done.set()
            for each in others:
                each.terminate()


@contextmanager
def _meeting(devices: Sequence[torch.device], rank: int, meeting: str) -> Iterator[Together]:
    kind = devices[rank].type
    if kind == "cuda":
        torch.cuda.set_device(devices[rank])
    # All are on this machine, whose name need not be one that a resolver knows.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=len(devices),
        device_id=devices[rank] if kind == "cuda" else None,
    )
    try:
        yield Together(init_device_mesh(kind, (len(devices),)))
    finally:
        distributed.destroy_process_group()


def _beside(
    work: Callable[..., Any], devices: Sequence[torch.device], rank: int, meeting: str, first: int
) -> None:
    """What another process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one is asked, and tells
    threading.Thread(target=_end_with, args=(first,), daemon=True).start()
    torch.set_num_threads(1)
    with _meeting(devices, rank, meeting) as all_of_them:
        work(where=devices[rank], together=all_of_them)


def _end_with(first: int) -> None:
    while lives(first):
        time.sleep(LOOK_EVERY)
    os._exit(1)


def _watch(others: Sequence[Any], devices: Sequence[torch.device], done: threading.Event) -> None:
    while not done.wait(LOOK_EVERY):
        for rank, each in enumerate(others, 1):
            if each.exitcode:
                with suppress(OSError):
                    print(
                        f"error: The process of {devices[rank]} has ended ({each.exitcode}; see"
                        " above), and the training with it. What was saved is gone on from.",
                        file=sys.stderr,
                        flush=True,
                    )
                os._exit(1)
