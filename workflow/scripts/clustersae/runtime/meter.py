"""What a piece of work really cost: seconds, memory, where."""

import resource
import sys
import time
from typing import Any

import torch


class Meter:
    """Measures the block it is the context manager of; `record` afterwards holds the figures.

    `seconds` are seconds of the processor that does the work: CPU time of this process, which
    other jobs on the machine disturb little, or on a GPU the elapsed time until it is done. Where
    several `devices` work alike, this process with one of them, it is those of all.
    """

    def __init__(self, device: torch.device | str = "cpu", devices: int = 1) -> None:
        self.device, self.devices = torch.device(device), devices
        self.record: dict[str, Any] = {}

    def __enter__(self) -> "Meter":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            torch.cuda.synchronize(self.device)
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def elapsed(self) -> float:
        """`seconds` so far; does not wait for a GPU."""
        if self.device.type == "cuda":
            return self.devices * (time.perf_counter() - self._wall)
        return self.devices * (time.process_time() - self._cpu)

    def __exit__(self, *_) -> None:
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize(self.device)
        wall = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        self.record = {
            "device": torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "seconds": self.devices * (wall if on_gpu else cpu),
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "peak_memory_mb": peak_memory_mb(),
            "peak_gpu_memory_mb": torch.cuda.max_memory_allocated(self.device) / 2**20
            if on_gpu
            else None,
        }


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
