"""How long a dry run of a large study takes, how much memory, and what of it is our own code.

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/dry_run.py docs/results/bench

The study has every number of clusters, five seeds, specialised SAEs, two tasks and all questions.
Its plan has been made, of random distances, so that clusters are torn into as many runs as can be
and their names are as long; everything before the plan are empty files. Measured are `snakemake -n
--quiet rules`, which plans all jobs and counts them, and `snakemake -n`, which lists them as well:
processor time, elapsed time and the highest resident set, of the fastest of five runs. `own_share`
is the part of the processor time in which a function below workflow/scripts was at work or waited
for what it had called, by a hundred samples a second. Asserts nothing.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fabricated_study import fabricate
from snakemake_project import TINY, Project

N_SEEDS = 5
N_RUNS = 5
#: Layers, and shards of training activations.
STUDIES = ((12, 10), (40, 100), (80, 200))
SHARD_TOKENS = 2000
#: Snakemake, looked at while it runs; ends by writing how many samples there were, and in our code.
SAMPLED = """
import signal, sys

seen = [0, 0]

def look(signum, frame):
    seen[0] += 1
    while frame and "/workflow/scripts/" not in frame.f_code.co_filename:
        frame = frame.f_back
    seen[1] += frame is not None

signal.signal(signal.SIGPROF, look)
signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)

from snakemake.cli import main

try:
    sys.argv[0] = "snakemake"
    main()
finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
    print("samples", *seen)
"""


def study(folder: Path, n_layers: int, n_shards: int) -> Project:
    """A project of which everything up to the plan is there."""
    project = Project.create(folder, TINY)
    project.configure(
        language_models={"tiny": {"architecture": {"n_layers": n_layers}}},
        activations={"tokens": {"train": n_shards * SHARD_TOKENS}, "shard_tokens": SHARD_TOKENS},
        arms={
            "per_layer": [1, 0.5],
            "shared": {"counts": list(range(1, n_layers + 1))},
            "specialised": [{"from": 1, "budgets": [0.5]}],
        },
        sae={
            "training_tokens": 400_000,
            "learning_rate": [0.001, 0.003],
            "seeds": list(range(N_SEEDS)),
        },
    )
    distances = np.random.default_rng(0).uniform(0.1, 1, (n_layers, n_layers))
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    fabricate(project, distances)
    return project


def dry_run(project: Project, *options: str) -> dict[str, Any]:
    """What it took, and how many jobs it has planned."""
    output = project.folder.with_suffix(".txt")
    with open(output, "w") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", SAMPLED, "-n", *options],
            cwd=project.folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    text = output.read_text()
    if status:
        raise SystemExit(text[-3000:])
    words = {line.split(" ")[0]: line.split() for line in text.splitlines()}
    _, samples, own = words["samples"]
    return {
        "jobs": int(words["total"][1]),
        "processor_s": used.ru_utime + used.ru_stime,
        "elapsed_s": f"{elapsed:.3g}",
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6),
        "printed_mb": f"{len(text) / 1e6:.2g}",
        "own_share": f"{int(own) / int(samples):.3f}",
    }


def measure(project: Project, *options: str) -> dict[str, Any]:
    """The fastest of some dry runs, which others on the machine disturbed least."""
    runs = sorted(
        (dry_run(project, *options) for _ in range(N_RUNS)), key=lambda run: run["processor_s"]
    )
    fastest, slowest = runs[0], runs[-1]["processor_s"]
    processor = {"processor_s": f"{fastest['processor_s']:.3g}", "slowest_s": f"{slowest:.3g}"}
    return {**fastest, **processor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the table, dry_run.csv")
    parser.add_argument("--only", type=int, help="layers of the one study to measure")
    given = parser.parse_args()
    rows = []
    for n_layers, n_shards in STUDIES:
        if given.only not in (None, n_layers):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            project = study(Path(temporary) / "study", n_layers, n_shards)
            for printed, options in {"summary": ("--quiet", "rules"), "jobs": ()}.items():
                shape = {"layers": n_layers, "shards": n_shards, "seeds": N_SEEDS}
                rows.append({**shape, "printed": printed, **measure(project, *options)})
                print(rows[-1], flush=True)
    with (given.folder / "dry_run.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
