"""Group-SAE's published table as a prediction of cost, and this project's results on the same axes.

    python tests/benchmarks/group_sae.py docs/results docs/results/group-sae

reads `published.csv` (quality of every number of SAEs, from the result files of
github.com/ghidav/group-sae, commit e556eea: FVU is 1 - explained variance there) and the `arms.csv`
of finished runs, and prices both by one formula, that of Ghilardi et al. 2025, section 3.3:
A + K·T, where A are the forward passes of the tokens cached and T the training of one SAE, with
dense products. Models, SAEs, tokens and the definition of FVU differ; only a point's place beside
the per-layer SAEs of its own model means anything. Asserts nothing.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from clustersae.experiment.flops import dense_flops, forward_flops
from clustersae.presentation.style import GREY, HIGHLIGHT, INK, canvas, percent_axis, save, styled


class Bill(NamedTuple):
    """What caching and the training of one SAE take, in the same unit.

    Attributes:
        n_weights: of the blocks.
        n_cached: tokens whose activations were cached.
        n_trained: activations that a full SAE is trained on.
    """

    n_weights: int
    n_layers: int
    d_model: int
    d_sae: int
    n_ctx: int
    n_cached: float
    n_trained: float

    @property
    def caching(self) -> float:
        shape = self.n_layers, self.n_ctx, self.d_model
        return forward_flops(self.n_weights, *shape) * self.n_cached

    @property
    def training(self) -> float:
        return dense_flops(self.d_model, self.d_sae) * self.n_trained


#: Settings of the published runs (their section 4 and code) and of ours (the README there).
PUBLISHED = {
    "pythia-160m": Bill(85_056_000, 12, 768, 12288, 1024, 1e9, 1e9),
    "pythia-410m": Bill(302_311_424, 24, 1024, 16384, 1024, 1e9, 1e9),
    "pythia-1b": Bill(805_736_448, 16, 2048, 32768, 1024, 1e9, 1e9),
}
OURS = {"smollm2": Bill(106_203_456, 30, 576, 2304, 256, 280088, 500000)}
LABELS = {
    "pythia-160m": "Pythia-160M",
    "pythia-410m": "Pythia-410M",
    "pythia-1b": "Pythia-1B",
    "smollm2": "SmolLM2-135M",
}
COLOURS = {"pythia-160m": "#56B4E9", "pythia-410m": "#0072B2", "pythia-1b": "#332288"}


def published(folder: Path) -> Iterator[dict[str, Any]]:
    """One row per model and number of SAEs; all cover the same layers, the last one left out."""
    table = pd.read_csv(folder / "published.csv")
    for model, rows in table.groupby("model", sort=False):
        bill = PUBLISHED[str(model)]
        full = rows[rows["n_saes"] == rows["n_layers"]].iloc[0]
        whole = bill.caching + full["n_layers"] * bill.training
        for _, row in rows.iterrows():
            yield {
                **{"model": model, "whose": "Group-SAE", "arm": f"{row['n_saes']} shared"},
                "training": row["n_saes"] / row["n_layers"],
                "cost": (bill.caching + row["n_saes"] * bill.training) / whole,
                "excess_fvu": row["fvu"] / full["fvu"] - 1,
            }


def ours(results: Path) -> Iterator[dict[str, Any]]:
    """Shared and specialised arms, and per-layer ones by training, with their intervals."""
    for model, bill in OURS.items():
        arms = pd.read_csv(results / model / "arms.csv")
        n_layers = int(arms["n_layers"].iloc[0])
        whole = bill.caching + n_layers * bill.training
        for _, arm in arms[arms["role"] != "control"].iterrows():
            if arm["matched_count"] > n_layers:
                continue
            kind = arm["role"] if arm["role"] in ("main", "specialised") else "per-layer"
            yield {
                **{"model": model, "whose": kind, "arm": arm["arm"]},
                "training": arm["matched_count"] / n_layers,
                "cost": (bill.caching + arm["matched_count"] * bill.training) / whole,
                **{name: arm[name] for name in ("excess_fvu", "excess_fvu_low", "excess_fvu_high")},
            }


def draw(table: pd.DataFrame, folder: Path) -> None:
    """FVU over training, and over the predicted bill."""
    looks = {
        "main": ("o", "shared"),
        "specialised": ("*", "specialised"),
        "per-layer": ("s", "per-layer"),
    }
    with styled():
        figure = canvas(
            *(9.5, 4.2),
            "Sharing as published, sharing and specialising here, priced by one formula",
            "Lines: Group-SAE (Ghilardi et al. 2025), 1 billion tokens, 16 × d_model, k 128 · "
            "points: SmolLM2-135M here, 0.5 million activations, 4 × d_model, k 32 · other models"
            " and definitions of FVU: compare each with its own per-layer SAEs alone",
        )
        for axis, column, name in zip(
            figure.subplots(1, 2, sharey=True),
            ("training", "cost"),
            (
                "training of SAEs, share of per-layer",
                "predicted FLOPs with caching, share of per-layer",
            ),
        ):
            for model, rows in table[table["whose"] == "Group-SAE"].groupby("model", sort=False):
                ordered = rows.sort_values(column)
                axis.plot(ordered[column], ordered["excess_fvu"], color=COLOURS[str(model)], lw=1.2)
            own = table[table["whose"] != "Group-SAE"]
            for kind, rows in own.groupby("whose", sort=False):
                marker, _ = looks[str(kind)]
                ordered = rows.sort_values(column)
                axis.plot(
                    *(ordered[column], ordered["excess_fvu"]),
                    **{"marker": marker, "ms": 8 if marker == "*" else 4, "lw": 0},
                    color=HIGHLIGHT if kind == "specialised" else INK if kind == "main" else GREY,
                )
            axis.axhline(0, color="#d9d9d9", lw=0.8, zorder=0)
            axis.set(xlabel=name, xlim=(0, 1.03), ylim=(-0.05, 1.15))
            axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            percent_axis(axis)
        figure.axes[0].set_ylabel("FVU above that of per-layer SAEs")
        handles = [Line2D([], [], color=COLOURS[model], label=LABELS[model]) for model in COLOURS]
        handles += [
            Line2D(
                [],
                [],
                marker=marker,
                lw=0,
                ms=8 if marker == "*" else 4,
                label=f"SmolLM2: {label}",
                color=HIGHLIGHT if marker == "*" else INK if marker == "o" else GREY,
            )
            for marker, label in looks.values()
        ]
        figure.axes[1].legend(handles=handles, loc="upper right")
        save(figure, None, folder / "costs.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    table = pd.DataFrame([*published(given.folder), *ours(given.results)])
    table.to_csv(given.folder / "costs.csv", index=False, float_format="%.5g", lineterminator="\n")
    draw(table, given.folder)
    for model, bill in (PUBLISHED | OURS).items():
        print(f"{model}: A {bill.caching:.4g}, T {bill.training:.4g} FLOPs")


if __name__ == "__main__":
    main()
