"""A sweep over circuit sizes beside as many evaluations of one size each; prints, asserts nothing.

    python tests/benchmarks/circuit_sweep.py results/MODEL TASK [threads]

takes the per-layer SAEs of the first seed of a finished experiment. The separate evaluations do
what a loop over thresholds does: m(M), m(∅) and the stand-ins anew for every size, and one circuit
at a time. Both ways take turns, so that a busy machine slows both; their results are compared. One
thread on a CPU is compared by its processor time.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from clustersae.circuits.attribution import attributed_effects
from clustersae.circuits.curves import log_sizes
from clustersae.circuits.dictionaries import dictionaries_of
from clustersae.circuits.faithfulness import Evaluation, Sweep
from clustersae.circuits.recording import run_clean
from clustersae.circuits.storage import load_recordings
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.sae.storage import load_sae

N_SIZES, REPEATS = 16, 5


def main(results: Path, task: str, threads: int) -> None:
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    description = read_description(results / "model")
    stream = ResidualStream(load_model(results / "model", description, device), description)
    recordings, runs = load_recordings(
        results / "tasks" / task / "recordings.safetensors", description.fingerprint, device
    )
    folders = [results / f"saes/base/{layer}/seed-0" for layer in range(description.n_layers)]
    dictionaries = dictionaries_of([load_sae(folder, device) for folder in folders])
    scores = attributed_effects(stream, dictionaries, recordings)
    sizes = log_sizes(description.n_layers * description.d_model, N_SIZES)

    def at_once() -> Sweep:
        clean = [run_clean(stream, run.pairs, run.layer) for run in runs]
        return Evaluation(stream, dictionaries, recordings, clean, "mean").sweep(scores, sizes)

    def one_by_one() -> np.ndarray:
        found = []
        for size in sizes:
            clean = [run_clean(stream, run.pairs, run.layer) for run in runs]
            evaluation = Evaluation(stream, dictionaries, recordings, clean, "mean")
            found.append(evaluation.sweep(scores, [size]).circuit[0])
        return np.stack(found)

    # Of one thread, processor time, which other jobs of the machine disturb less.
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    ratios = []
    for repeat in range(REPEATS + 1):
        (sweep, seconds), (separate, separate_seconds) = (
            _timed(function, clock) for function in (at_once, one_by_one)
        )
        if repeat:  # the first turn warms up
            ratios.append(seconds / separate_seconds)
    n_prompts = sum(len(run.pairs.clean) for run in runs)
    print(
        f"{len(sizes)} sizes, {n_prompts} prompts: a sweep takes {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f} in {REPEATS} pairs) of separate evaluations;"
        f" largest difference of m {np.abs(sweep.circuit - separate).max():.1e}"
        f" ({device}, {threads} threads)"
    )


def _timed(function, clock: Callable[[], float]) -> tuple:
    started = clock()
    result = function()  # on the CPU in the end, so that a GPU has finished
    return result, clock() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
