"""How often latents fire: histograms per layer, shared SAEs against per-layer ones."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.saes import rows_of, saes_of_arm
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.specialised import SPECIALISED, budget, start_of
from clustersae.presentation.style import (
    GREY,
    INK,
    METHOD_COLOURS,
    METHOD_NAMES,
    canvas,
    conditions,
    kind_of,
    styled,
)
from clustersae.presentation.words import percent, share
from clustersae.quality.figure_layer_fvu import short_name


def draw(density: pd.DataFrame, quality: pd.DataFrame, arms: pd.DataFrame, model: str) -> Figure:
    """One small panel per layer: share of latents by log10 of their firing density.

    Drawn are the per-layer SAEs, the chosen partition's and those of the specialised arm that the
    verdict names.

    Args:
        density: `tables/latent_density.csv`.
        quality: `tables/layer_quality.csv`, for the clusters of the arms.
        arms: `tables/arms.csv`.
        model: name for the subtitle.
    """
    shown = shared(arms)
    series = {PER_LAYER: (METHOD_NAMES[PER_LAYER], INK)}
    if shown is not None:
        kind = kind_of(shown)
        name = f"{METHOD_NAMES[kind]}, K = {shown['count']}"
        series[shown["arm"]] = (name, METHOD_COLOURS[kind])
    special = specialised(arms)
    if special is not None:
        name = f"specialised {start_of(special['partition'])}, {share(budget(special))} of training"
        series[special["arm"]] = (name, METHOD_COLOURS[SPECIALISED])
    selected = {arm: _of_arm(density, quality, arm) for arm in series}
    layers = sorted(selected[PER_LAYER]["layer"].unique())
    n_columns = min(len(layers), 3 if len(layers) <= 6 else 4 if len(layers) <= 12 else 6)
    n_rows = math.ceil(len(layers) / n_columns)
    with styled():
        figure = canvas(
            max(2.1 * n_columns, 7.5),
            1.55 * n_rows + 0.9,
            _finding(selected, None if shown is None else shown["arm"]),
            conditions(
                model,
                len(layers),
                int(arms["n_seeds"].min()),
                "validation and test split",
                "all seeds pooled",
                "in each panel: share of latents that never fired",
            ),
        )
        axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        for axis, layer in zip(axes.ravel(), layers):
            _panel(axis, layer, selected, series, None if shown is None else shown["arm"])
        for axis in axes.ravel()[len(layers) :]:
            axis.set_visible(False)
        axes[0, 0].set_ylim(bottom=0)
        axes[0, 0].yaxis.set_major_locator(MaxNLocator(3))
        axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes[0, 0].xaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
        for column in range(n_columns):
            lowest = axes[(len(layers) - 1 - column) // n_columns, column]
            lowest.set_xlabel("share of tokens it fires on", size=8)
            lowest.tick_params(labelbottom=True)
        figure.supylabel("share of latents", size=9)
        handles = [
            Line2D([], [], color=colour, lw=2, label=name) for name, colour in series.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _of_arm(density: pd.DataFrame, quality: pd.DataFrame, arm: str) -> pd.DataFrame:
    return rows_of(density, saes_of_arm(quality, arm))


def _dead(rows: pd.DataFrame) -> float:
    return rows.loc[rows["kind"] == "dead", "n_latents"].sum() / rows["n_latents"].sum()


def _finding(selected: dict[str, pd.DataFrame], shown: str | None) -> str:
    dead = {
        arm: rows.groupby("layer")[["kind", "n_latents"]].apply(_dead)
        for arm, rows in selected.items()
    }
    base = dead[PER_LAYER]
    if shown is None:
        return f"On average {percent(base.mean())} of latents never fire"
    shared = dead[shown]
    if shared.max() == base.max() == 0:
        return "Every latent fires on every layer it serves, shared or not"
    return (
        f"Latents that never fire on a layer: {percent(shared.mean())} with shared SAEs,"
        f" {percent(base.mean())} with one per layer (most on layer {shared.idxmax()}:"
        f" {percent(shared.max())} shared, {percent(base[shared.idxmax()])} alone)"
    )


def _panel(
    axis: Axes,
    layer: int,
    selected: dict[str, pd.DataFrame],
    series: dict[str, tuple[str, str]],
    shown: str | None,
) -> None:
    for i, (arm, (_, colour)) in enumerate(series.items()):
        rows = selected[arm][selected[arm]["layer"] == layer]
        total = rows["n_latents"].sum()
        live = rows[rows["kind"] == "live"]
        edges = ["log10_density_low", "log10_density_high"]
        bins = (live.groupby(edges)["n_latents"].sum() / total).reset_index()
        if len(bins):  # else all latents of the layer are dead
            _stairs(axis, bins, colour, filled=arm == shown)
        dead = percent(_dead(rows))
        axis.annotate(
            dead if i else f"dead {dead}",
            *((0.02, 0.93), (0, -10.5 * i)),
            xycoords="axes fraction",
            textcoords="offset points",
            size=7.5,
            color=colour,
            va="top",
        )
    clusters = selected[PER_LAYER if shown is None else shown]
    cluster = clusters.loc[clusters["layer"] == layer, "cluster"].iloc[0]
    alone = cluster == str(layer)
    studied = sorted(clusters["layer"].unique())
    named = f"layer {layer} (cluster {short_name(cluster, studied)})"
    title = f"layer {layer}" if alone or len(named) > 26 else named
    axis.set_title(title, size=8.5, color=INK, weight="normal")
    axis.tick_params(labelsize=8)
    axis.spines["left"].set_color(GREY)


def _stairs(axis: Axes, bins: pd.DataFrame, colour: str, filled: bool) -> None:
    """Steps over the bins; bins without latents need not be in the table."""
    low, high = bins["log10_density_low"].to_numpy(), bins["log10_density_high"].to_numpy()
    heights = bins["n_latents"].to_numpy()
    edges, values = [low[0]], []
    for start, stop, height in zip(low, high, heights):
        if not np.isclose(start, edges[-1]):
            edges.append(start)
            values.append(0.0)
        edges.append(stop)
        values.append(height)
    axis.stairs(values, edges, color=colour, linewidth=1.3)
    if filled:
        axis.stairs(values, edges, color=colour, alpha=0.18, fill=True)
