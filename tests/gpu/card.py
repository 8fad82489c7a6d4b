"""The device that is measured: its name, how it is set, how fast it runs, what it draws."""

import contextlib
import csv
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

#: What nvidia-smi is asked for twice a second while a stage runs.
ASKED = ("power.draw", "clocks.sm", "clocks.mem", "memory.used", "temperature.gpu")
UNITS = ("watts", "sm_mhz", "memory_mhz", "memory_used_mib", "celsius")
REPEATED = ("--format=csv,noheader,nounits", "-lms", "500")


def choose(name: str) -> torch.device:
    """The device that the settings name.

    Raises:
        RuntimeError: it is a GPU and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("no GPU can be used here: torch.cuda.is_available() says no")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def set_precision(tf32: bool, deterministic: bool = False) -> dict[str, Any]:
    """Set how float32 products are computed, and say so.

    bfloat16 is a setting of each training (autocast), not of the process: a reduction of its
    products stays in float32.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    return {
        "float32_products": "TF32" if tf32 else "float32",
        "bfloat16_reductions": "float32",
        "deterministic_algorithms": deterministic,
        "cudnn_benchmark": False,
    }


def machine(where: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    import transformers

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }
    with contextlib.suppress(ImportError):
        import triton

        facts["triton"] = triton.__version__
    if where.type == "cuda":
        properties = torch.cuda.get_device_properties(where)
        facts |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "driver": _asked_once("driver_version"),
        }
    return facts


def _asked_once(what: str) -> str | None:
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader", "-i", "0"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


class Sampler:
    """Watches power, clocks and memory while it is entered, where the driver reports them.

    It only asks: no setting of the card is touched.
    """

    def __init__(self, file: Path, where: torch.device) -> None:
        self.file, self.where = file, where
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Sampler":
        if self.where.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.where)
            query = f"--query-gpu={','.join(ASKED)}"
            with contextlib.suppress(OSError), open(self.file, "wb") as output:
                self._process = subprocess.Popen(
                    ["nvidia-smi", "-i", "0", query, *REPEATED],
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                )
        return self

    def __exit__(self, *_: Any) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()

    def found(self) -> dict[str, Any]:
        """Least, median and largest of each figure so far, and the most memory of tensors."""
        found: dict[str, Any] = {"peak_host_memory_mb": round(_peak_host_memory_mb())}
        if self.where.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.where)
            found["peak_gpu_memory_mb"] = round(peak / 2**20)
        return found | (read_samples(self.file) if self.file.is_file() else {})


def read_samples(file: Path) -> dict[str, Any]:
    """The same of nvidia-smi's lines; a figure that the driver does not report is left out."""
    columns: dict[str, list[float]] = {name: [] for name in UNITS}
    with open(file, newline="", encoding="utf-8", errors="replace") as lines:
        for row in csv.reader(lines):
            for name, cell in zip(UNITS, row):
                with contextlib.suppress(ValueError):
                    columns[name].append(float(cell))
    return {
        name: {"least": min(each), "median": statistics.median(each), "largest": max(each)}
        for name, each in columns.items()
        if each
    }


def _peak_host_memory_mb() -> float:
    from clustersae.runtime.meter import peak_memory_mb

    return peak_memory_mb()


def milliseconds(
    call: Callable[[int], Any], where: torch.device, inner: int = 20, repeats: int = 7
) -> dict[str, float]:
    """Of one call: median, least and largest over `repeats` runs of `inner` calls each.

    The first run warms up and does not count. A GPU is timed by its own events, so that what the
    host does in the meantime counts only where the GPU waits for it.

    Args:
        call: is told its number, so that it can take other data every time.
    """
    times, number = [], 0
    for repeat in range(repeats + 1):
        if where.type == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(where)
            start.record()
        began = time.perf_counter()
        for _ in range(inner):
            call(number)
            number += 1
        if where.type == "cuda":
            stop.record()
            stop.synchronize()
            spent = start.elapsed_time(stop)
        else:
            spent = 1000 * (time.perf_counter() - began)
        if repeat:
            times.append(spent / inner)
    return {"median": statistics.median(times), "least": min(times), "largest": max(times)}


def versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Of packages that may not be there."""
    from importlib import metadata

    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
