"""Distance between layers against what SAEs lose between them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustersae.presentation.style import (
    GREY,
    METHOD_COLOURS,
    canvas,
    conditions,
    percent_axis,
    styled,
)
from clustersae.transfer.table import LOSS

_NAMES = {
    "angular_centred": "angular distance, mean-centred",
    "angular": "angular distance",
    "cka": "1 − linear CKA",
}
#: Lines of the last panel: what layers are clustered by.
_LINES = {
    LOSS: ("the loss itself", "#000000", "-"),
    "angular_centred": ("angular, centred", METHOD_COLOURS["complete"], "-"),
    "angular": ("angular", METHOD_COLOURS["complete"], (0, (2, 2))),
    "cka": ("1 − CKA", "#CC79A7", "-"),
    "even": ("even runs", GREY, (0, (1, 1.5))),
}


def draw(
    pairs: pd.DataFrame, similarity: pd.DataFrame, partitions: pd.DataFrame, model: str
) -> Figure:
    """A point per pair of layers for each distance, and the loss that is left within clusters.

    Args:
        pairs: `tables/transfer.csv`; similarity: `tables/similarity.csv`.
        partitions: `tables/transfer_partitions.csv`.
        model: name for the subtitle.
    """
    with styled():
        if similarity.empty:
            return canvas(7.5, 0.1, "Too few layers for clusters", model)
        means = pairs.groupby(["layer_i", "layer_j"], as_index=False).mean(numeric_only=True)
        layers = {*pairs["layer_i"], *pairs["layer_j"]}
        names = [name for name in _NAMES if name in pairs]
        figure = canvas(
            3.2 * (len(names) + 1),
            3.9,
            _finding(similarity),
            conditions(
                *(model, len(layers), int(similarity["n_seeds"].min())),
                "SAE of one layer read on another, mean of both directions, validation split",
                "colour: layers apart, dark for neighbours",
            ),
        )
        axes = figure.subplots(1, len(names) + 1)
        for axis, name in zip(axes, names):
            _scatter(axis, means, similarity, name)
        axes[0].set_ylabel("excess FVU")
        _within(axes[-1], partitions)
    return figure


def _finding(similarity: pd.DataFrame) -> str:
    ranked = similarity.sort_values("rank_correlation", ascending=False)
    best, others = ranked.iloc[0], ranked.iloc[1:]
    if not (best["rank_correlation_low"] > others["rank_correlation_high"].max()):
        return (
            "Rank correlations of distances between layers with what an SAE loses between them:"
            f" {ranked['rank_correlation'].min():.2f} to {best['rank_correlation']:.2f}"
        )
    name = _NAMES.get(best["distance"], best["distance"])
    return (
        f"Of the distances, {name} ranks pairs of layers best: rank correlation"
        f" {best['rank_correlation']:.2f} with what an SAE loses"
    )


def _scatter(axis: Axes, means: pd.DataFrame, similarity: pd.DataFrame, name: str) -> None:
    apart = means["layer_j"] - means["layer_i"]
    axis.scatter(
        means[name], means["excess"], c=apart, cmap="viridis", s=14, linewidths=0, zorder=3
    )
    row = similarity.set_index("distance").loc[name]
    low, high = row["rank_correlation_low"], row["rank_correlation_high"]
    interval = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    axis.set_title(f"ρ = {row['rank_correlation']:.2f}{interval}", fontsize=9)
    axis.set_xlabel(_NAMES[name])
    axis.set_ylim(bottom=min(0, means["excess"].min()))
    axis.grid(True, axis="y")
    percent_axis(axis)


def _within(axis: Axes, partitions: pd.DataFrame) -> None:
    for name, (label, colour, dashes) in _LINES.items():
        rows = partitions[partitions["distance"] == name].sort_values("count")
        if len(rows):
            axis.plot(
                rows["count"], rows["mean_excess"], label=label, color=colour, linestyle=dashes
            )
    axis.set_title("left within clusters, by", fontsize=9)
    axis.set_xlabel("number of clusters")
    axis.grid(True, axis="y")
    axis.set_ylim(bottom=min(0, partitions["mean_excess"].min()))
    percent_axis(axis)
    axis.legend(fontsize=8)
