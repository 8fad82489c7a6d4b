"""What a run was made with and what it took: versions, machine, processor time."""

import os
import platform
from importlib import metadata
from pathlib import Path

import pandas as pd

from clustersae import __version__

#: Packages whose version may decide a number.
PACKAGES = (
    *("torch", "transformers", "transformer-lens", "tokenizers", "safetensors", "numpy"),
    *("scipy", "scikit-learn", "pandas", "matplotlib", "snakemake"),
)
#: What the kinds of jobs are called.
KINDS = {"caching": "caching activations", "sae": "training SAEs", "pilot": "pilot SAEs"}


def versions() -> dict[str, str]:
    """This package, Python, and those of PACKAGES that are installed here."""
    found = {"clustersae": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an environment for tables and figures has no torch
    return found


def machine() -> dict[str, str]:
    """Operating system, processor and memory of the machine that this runs on."""
    found = {"system": platform.platform(), "processor": _processor()}
    found["processors"] = str(os.cpu_count())
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory"] = f"{memory / 1e9:.0f} GB"
    return found


def _processor(facts: Path = Path("/proc/cpuinfo")) -> str:
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def work(cost: pd.DataFrame) -> pd.DataFrame:
    """Jobs, time and memory by kind of job and device.

    Args:
        cost: evaluation/cost.csv, a row for every job. `seconds` are those of the work itself, on
            the processor that did it; `tuning_seconds` the trials of learning rates beside it.
    """
    by = cost.assign(
        job=cost["kind"].map(lambda kind: KINDS.get(kind, kind)), device=cost["device"].fillna("")
    ).groupby(["job", "device"], sort=False)
    summed = {
        "jobs": by.size(),
        # Of caching there is no count, and no tuning.
        "activations": by["activations"].sum(min_count=1),
        "seconds": by["seconds"].sum(),
        "tuning seconds": by["tuning_seconds"].sum(min_count=1),
        "elapsed seconds, start included": by["job_seconds"].sum(),
        "peak memory (MB)": by["peak_memory_mb"].max(),
    }
    return pd.DataFrame(summed).reset_index()
