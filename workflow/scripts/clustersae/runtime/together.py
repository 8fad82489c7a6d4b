"""Several processes that do one job together, each with a device of its own."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from clustersae.runtime.job import LOOK_EVERY, lives

#: How long a rank waits for others, which may be writing a large checkpoint; deaths are looked for.
PATIENCE = timedelta(days=2)


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
        """This rank's part of a tensor that every rank has, maybe a view of it."""
        placed = distribute_tensor(whole, self.mesh, [Shard(dim)], src_data_rank=None)
        return placed.to_local()

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
def together_on(
    devices: Sequence[torch.device],
    work: Callable[..., Any],
    agreed: tuple[type[BaseException], ...] = (),
) -> Iterator[Together]:
    """Have `work(where=, together=)` done by one more process for each device but the first.

    The caller does the same as rank 0. If one of the others fails, this process ends as well: what
    it waits for will not come.

    Args:
        devices: all on one machine; CPUs stand for as many processes.
        work: a function of a module, or a `partial` of one, whose arguments can be sent.
        agreed: what all ranks raise at the same place, if one does.
    """
    start = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="clustersae-") as folder:
        meeting = str(Path(folder) / "meeting")
        told = (work, agreed, devices, meeting, os.getpid())
        others = [
            start.Process(target=_beside, args=(rank, *told), daemon=True)
            for rank in range(1, len(devices))
        ]
        for each in others:
            each.start()
        done = threading.Event()
        threading.Thread(target=_watch, args=(others, devices, done), daemon=True).start()
        try:
            yield _met(devices, 0, meeting)
        except agreed:
            _part(done, others)
            raise
        except BaseException:
            done.set()
            for each in others:  # they may wait for this one
                each.kill()
            _give_up()
            raise
        _part(done, others)


def _met(devices: Sequence[torch.device], rank: int, meeting: str) -> Together:
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
        timeout=PATIENCE,
    )
    return Together(init_device_mesh(kind, (len(devices),)))


def _part(done: threading.Event, others: Sequence[Any]) -> None:
    """All ranks are through."""
    done.set()
    distributed.destroy_process_group()
    for each in others:
        each.join()


def _give_up() -> None:
    """Leave without a word to the other ranks, which are gone: NCCL would wait for them."""
    if not distributed.is_initialized():
        return
    if distributed.get_backend() == "nccl":
        distributed.distributed_c10d._abort_process_group()
    else:
        distributed.destroy_process_group()


def _beside(
    rank: int,
    work: Callable[..., Any],
    agreed: tuple[type[BaseException], ...],
    devices: Sequence[torch.device],
    meeting: str,
    first: int,
) -> None:
    """What another process does; of what was agreed on, the first one tells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one is asked, and tells
    threading.Thread(target=_end_with, args=(first,), daemon=True).start()
    torch.set_num_threads(1)
    try:
        with suppress(*agreed):
            work(where=devices[rank], together=_met(devices, rank, meeting))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    distributed.destroy_process_group()


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
