"""The device that is measured: its name, how it is set, how fast it runs, what it draws."""

import contextlib
import csv
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from clustersae.runtime.meter import peak_memory_mb

#: What nvidia-smi is asked for twice a second while a stage runs.
ASKED = ("power.draw", "clocks.sm", "clocks.mem", "memory.used", "temperature.gpu")
UNITS = ("watts", "sm_mhz", "memory_mhz", "memory_used_mib", "celsius")
REPEATED = ("--format=csv,noheader,nounits", "-lms", "500")
#: Most memory of this process, and of tensors on the card, in MiB.
PEAKS = ("peak_host_memory_mb", "peak_gpu_memory_mb")
RESET = "reset_peak_memory_stats"


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
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    return {
        "float32_products": "TF32" if tf32 else "float32",
        "bfloat16_reductions": "float32",
        "deterministic_algorithms": deterministic,
        "cudnn_deterministic": deterministic,
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

    It only asks: no setting of the card is touched. A stage that goes on in another call has the
    figures of all its calls.

    Args:
        folder: gets one file of samples per call.
        before: what an earlier call has found.
    """

    def __init__(self, folder: Path, where: torch.device, before: Mapping[str, Any]) -> None:
        self.folder, self.where = folder, where
        self._host, self._gpu = (before.get(key, 0) for key in PEAKS)
        self._process: subprocess.Popen[bytes] | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "Sampler":
        if self.where.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.where)
            self._exit.enter_context(patch.object(torch.cuda, RESET, self._noting(RESET)))
            query = f"--query-gpu={','.join(ASKED)}"
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / f"{len(self._files())}.csv"
            with contextlib.suppress(OSError), open(file, "wb") as output:
                self._process = subprocess.Popen(
                    ["nvidia-smi", "-i", "0", query, *REPEATED],
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                )
        return self

    def _noting(self, name: str) -> Callable[..., None]:
        """What sets the peak back, as each job of a stage does, after the peak has been noted."""
        reset = getattr(torch.cuda, name)

        def noting(*given: Any) -> None:
            self._note()
            reset(*given)

        return noting

    def _note(self) -> None:
        self._host = max(self._host, round(peak_memory_mb()))
        if self.where.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.where)
            self._gpu = max(self._gpu, round(peak / 2**20))

    def __exit__(self, *_: Any) -> None:
        self._exit.close()
        if self._process:
            self._process.terminate()
            self._process.wait()

    def found(self) -> dict[str, Any]:
        """Least, median and largest of each figure so far, and the most memory of tensors."""
        self._note()
        peaks = zip(PEAKS, (self._host, self._gpu))
        found: dict[str, Any] = {name: peak for name, peak in peaks if peak}
        return found | read_samples(self._files())

    def _files(self) -> list[Path]:
        return list(self.folder.glob("*.csv"))


def read_samples(files: Iterable[Path]) -> dict[str, Any]:
    """The same of nvidia-smi's lines; a figure that the driver does not report is left out."""
    columns: dict[str, list[float]] = {name: [] for name in UNITS}
    for file in files:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # the last may be cut off
        for row in csv.reader(whole):
            for name, cell in zip(UNITS, row):
                with contextlib.suppress(ValueError):
                    columns[name].append(float(cell))
    return {
        name: {"least": min(each), "median": statistics.median(each), "largest": max(each)}
        for name, each in columns.items()
        if each
    }


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
