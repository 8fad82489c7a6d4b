"""How far apart layers are, and where the partitions cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from clustersae.experiment.clusters import layers_of
from clustersae.presentation.shown import shared
from clustersae.presentation.style import (
    GREY,
    HIGHLIGHT,
    METHOD_COLOURS,
    METHOD_NAMES,
    canvas,
    layer_ticks,
    styled,
)
from clustersae.quality.figure_layer_fvu import runs
from clustersae.runtime.errors import InputError

#: Places of its layers among those studied.
Cluster = tuple[int, ...]

_NAMES = {
    "angular": "angular distance",
    "angular_centred": "angular distance, mean-centred",
    "cka": "1 − linear CKA",
}
#: Up to this many layers the cells are large enough for numbers, and no colour bar is needed.
_MOST_VALUES = 26
_COLOURS = LinearSegmentedColormap.from_list("near to far", ["#ffffff", "#9ecae1", "#08306b"])


def draw(
    distances: pd.DataFrame, description: dict[str, Any], arms: pd.DataFrame, model: str
) -> Figure:
    """The distance matrix with the chosen clusters outlined, beside the partitions for every K.

    Args:
        distances: `clusters/distances.csv`, long.
        description: `clusters/partitions.json`; its `distance` is the one drawn.
        arms: `tables/arms.csv`.
        model: name for the subtitle.
    """
    name = description["distance"]
    layers = description["layers"]
    matrix = _matrix(distances, name, layers)
    n_layers = len(matrix)
    shown = shared(arms)
    partition = None if shown is None else shown["partition"]
    names = [] if shown is None else description["partitions"][partition]["clusters"]
    clusters = _places(names, layers)
    rows = {
        count: _places(found, layers)
        for count, found in _by_count(description, shown, arms).items()
    }
    side = min(max(4.2, 0.36 * n_layers), 9)
    strip = max(1.8, 0.17 * len(rows) + 0.3)
    with styled():
        figure = canvas(
            side + strip + 1.1,
            side + 0.55,
            _finding(matrix, clusters, name),
            f"{model} · {_NAMES.get(name, name)}, mean over tokens, between all pairs of layers",
        )
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(side, strip))
        _heatmap(left, matrix, clusters, layers, _NAMES.get(name, name))
        _strip(right, rows, shown)
    return figure


def _places(clusters: Sequence[str], layers: Sequence[int]) -> list[Cluster]:
    """Clusters as places among the studied layers."""
    return [tuple(layers.index(layer) for layer in layers_of(name)) for name in clusters]


def _matrix(distances: pd.DataFrame, name: str, layers: Sequence[int]) -> np.ndarray:
    rows = distances[distances["distance"] == name]
    matrix = rows.pivot(index="layer_i", columns="layer_j", values="value").reindex(
        index=layers, columns=layers
    )
    if matrix.isna().any(axis=None):
        raise InputError(f"The distances lack values of {name} between some of the layers.")
    return matrix.to_numpy()


def _by_count(
    description: dict[str, Any], shown: pd.Series | None, arms: pd.DataFrame
) -> dict[int, list[str]]:
    """Clusters of the main method for every K that partitions.json has."""
    main = arms[arms["role"].isin(["main", "baseline"])]
    methods = {*main["method"]} if shown is None else {*main["method"], shown["method"]}
    found = {
        int(partition["count"]): partition["clusters"]
        for partition in description["partitions"].values()
        if partition["method"] in methods
    }
    return dict(sorted(found.items()))


def _same(clusters: Sequence[Cluster], n_layers: int) -> np.ndarray:
    """Whether two layers share a cluster, `[n_layers, n_layers]`."""
    label = np.arange(n_layers) - n_layers
    for i, cluster in enumerate(clusters):
        label[list(cluster)] = i
    return label[:, None] == label[None]


def _finding(matrix: np.ndarray, clusters: Sequence[Cluster], name: str) -> str:
    nearest = np.diag(matrix, 1)
    if not nearest.size:
        return "The model has one layer, which is near no other"
    if not clusters:
        return f"Neighbouring layers are {nearest.min():.2f} to {nearest.max():.2f} apart"
    same = _same(clusters, len(matrix))
    off = ~np.eye(len(matrix), dtype=bool)
    inside, across = matrix[same & off], matrix[~same]
    if not inside.size or not across.size:
        return f"Neighbouring layers are {nearest.min():.2f} to {nearest.max():.2f} apart"
    return (
        f"{len(clusters)} clusters keep layers within {inside.max():.2f} of each other"
        f" (mean {inside.mean():.2f}); layers of different clusters are {across.mean():.2f} apart"
        " on average"
    )


def _heatmap(
    axis: Axes, matrix: np.ndarray, clusters: Sequence[Cluster], layers: Sequence[int], label: str
) -> None:
    n_layers = len(matrix)
    legible = n_layers <= _MOST_VALUES
    values = [
        ["" if i == j else f"{matrix[i, j]:.2f}".removeprefix("0") for j in range(n_layers)]
        for i in range(n_layers)
    ]
    seaborn.heatmap(
        matrix,
        ax=axis,
        cmap=_COLOURS,
        vmin=0,
        vmax=matrix.max() or 1,  # one layer is at no distance
        annot=np.array(values) if legible else None,
        fmt="",
        annot_kws={"size": 9 if n_layers <= 8 else 7.5 if n_layers <= 14 else 5.8},
        cbar=not legible,
        cbar_kws={"shrink": 0.6, "aspect": 30, "pad": 0.02, "location": "left", "label": label},
    )
    if clusters:
        # A line wherever a cluster's block meets anything else; works for scattered clusters too.
        framed = np.pad(_same(clusters, n_layers), 1)
        for i, j in np.ndindex(n_layers + 1, n_layers + 1):
            if framed[i, j + 1] != framed[i + 1, j + 1] and j < n_layers:
                axis.plot([j, j + 1], [i, i], color=HIGHLIGHT, lw=2.2, zorder=3)
            if framed[i + 1, j] != framed[i + 1, j + 1] and i < n_layers:
                axis.plot([j, j], [i, i + 1], color=HIGHLIGHT, lw=2.2, zorder=3)
    axis.set(xlabel="layer", ylabel="layer")
    # Room for half the width of the outermost lines.
    axis.set_xlim(-0.1, n_layers + 0.1)
    axis.set_ylim(n_layers + 0.1, -0.1)
    for which in ("x", "y"):
        layer_ticks(axis, range(n_layers), which, centre=0.5, labels=layers)
    axis.tick_params(axis="y", rotation=0)
    axis.set_title("Distance between layers")
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)


def _strip(axis: Axes, rows: dict[int, list[Cluster]], shown: pd.Series | None) -> None:
    """One column per K; a bar joins consecutive layers of one cluster."""
    counts = list(rows)
    places = sorted({place for clusters in rows.values() for own in clusters for place in own})
    scattered = any(len(runs(own, places)) > 1 for clusters in rows.values() for own in clusters)
    for x, count in enumerate(counts):
        chosen = shown is not None and count == shown["count"]
        for i, own in enumerate(rows[count]):
            for first, last in runs(own, places):
                axis.plot(
                    *([x, x], [first + 0.32, last + 0.68]),
                    color=HIGHLIGHT if chosen else METHOD_COLOURS["complete"],
                    alpha=1 if chosen else 0.55,
                    linewidth=6 if len(counts) > 12 else 8,
                    solid_capstyle="butt",
                )
                if scattered and len(own) > 1:
                    axis.text(
                        *(x, (first + last + 1) / 2, chr(ord("a") + i % 26)),
                        ha="center",
                        va="center",
                        size=6,
                        color="white",
                    )
    step = 1 if len(counts) <= 16 else 2
    at = 0 if shown is None else counts.index(int(shown["count"]))
    ticks = [x for x in range(len(counts)) if (x - at) % step == 0]
    axis.set_xticks(ticks, [str(counts[x]) for x in ticks])
    axis.set_xlim(-0.8, len(counts) - 0.2)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0, labelsize=8)
    axis.tick_params(axis="y", labelleft=True, labelcolor=GREY)
    axis.set_title("Clusters for every K")
    if shown is not None:
        axis.get_xticklabels()[ticks.index(at)].set(color=HIGHLIGHT, weight="bold")
    method = METHOD_NAMES[shown["method"]] if shown is not None else "clusters"
    axis.set_xlabel(f"K ({method})")
