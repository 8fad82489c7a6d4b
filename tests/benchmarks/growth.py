"""How time and memory of a step grow with the number of latents and with k.

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/growth.py docs/results/bench

Time is processor time, the least of some steps, since machines are shared. Lines are what a step
cannot do without: the operations that `experiment.flops` counts (the encoder product, the sparse
ones, the optimiser's), at the rate at which the widest product x @ W_enc in float32 ran in this
process; and two weights with two moments each in memory. Asserts nothing.
"""

import argparse
import ctypes
import gc
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.sae_step import planted, resident, write
from sae_settings_of import topk_settings

from clustersae.experiment.flops import optimiser_flops, training_flops
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.training import Trainer

BATCH, D_MODEL = 512, 256
WIDTHS, KS = [2**i for i in range(10, 18)], [8, 16, 32, 64, 128, 256]
MEGABYTE = 2**20


def least(run: Callable[[], Any], times: int) -> float:
    """Milliseconds of processor time."""
    found = []
    for _ in range(times):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return 1000 * min(found)


def product_ms(x: torch.Tensor, d_sae: int, times: int) -> float:
    weights, out = torch.randn(d_sae, D_MODEL).t(), torch.empty(len(x), d_sae)
    return least(lambda: torch.mm(x, weights, out=out), times + 1)


def measured(d_sae: int, k: int, x: torch.Tensor, times: int) -> tuple[float, float]:
    """Milliseconds of a step, and MB that the SAE and its training hold at their peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free is given back
    before = resident("VmRSS")
    sae = TopK((0,), d_sae, k, torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(0))
    settings = topk_settings(d_sae, k, n_steps=10**6, batch_size=len(x), learning_rate=1e-4)
    trainer = Trainer(sae, settings)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of making it is forgotten
    spent = least(lambda: trainer.step(x), times + 1)
    return spent, resident("VmHWM") - before


def measure(folder: Path, times: int) -> None:
    torch.manual_seed(0)
    (x,) = planted(1, BATCH, D_MODEL)
    products = {d_sae: product_ms(x, d_sae, times) for d_sae in WIDTHS}
    rate = 2 * BATCH * D_MODEL * WIDTHS[-1] / products[WIDTHS[-1]]  # operations per millisecond
    rows = []
    for d_sae, k in itertools.product(WIDTHS, KS):
        spent, megabytes = measured(d_sae, k, x, times)
        flops = BATCH * training_flops("topk", D_MODEL, d_sae, k, 0)
        flops += optimiser_flops(D_MODEL, d_sae)
        rows.append(
            {
                "batch": BATCH, "d_model": D_MODEL, "d_sae": d_sae, "k": k, "step_ms": spent,
                "product_ms": products[d_sae], "ratio_to_product": spent / products[d_sae],
                "line_ms": flops / rate, "peak_mb": megabytes,
                "line_mb": 6 * 4 * d_sae * D_MODEL / MEGABYTE,
            }
        )  # fmt: skip
        write(folder / "growth.csv", rows)
        print(rows[-1], flush=True)


def draw(folder: Path) -> None:
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = pd.read_csv(folder / "growth.csv")
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    outside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    panels = [  # of which curve, along what, which column, its line
        (axes[0], "k", "d_sae", "step_ms", "line_ms"),
        (axes[1], "d_sae", "k", "step_ms", "line_ms"),
        (axes[2], "k", "d_sae", "peak_mb", "line_mb"),
    ]
    for axis, by, along, column, line in panels:
        groups = table.groupby(by)
        shades = plt.get_cmap("viridis")(torch.linspace(0, 0.9, len(groups)).tolist())
        for (value, here), shade in zip(groups, shades):
            axis.plot(here[along], here[column], "o-", ms=3, color=shade, label=f"{by} {value:,}")
            axis.plot(here[along], here[line], "--", color=shade, lw=0.8)
        axis.set(xscale="log", yscale="log", xlabel=along, ylabel=column.replace("_", ", "))
        axis.legend(fontsize=7, frameon=False, **outside if by == "d_sae" else {})
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"One step of TopK, batch {BATCH}, d_model {D_MODEL}; dashed: theory", size=10)
    figure.savefig(folder / "growth.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=3, help="steps of each shape, after one more")
    parser.add_argument("--draw", action="store_true", help="only the figure, from the table")
    given = parser.parse_args()
    if not given.draw:
        measure(given.folder, given.times)
    draw(given.folder)


if __name__ == "__main__":
    main()
