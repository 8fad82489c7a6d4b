"""Which layers pay for sharing: FVU of every layer with its own SAE and with a shared one."""

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.clusters import layers_of
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.specialised import SPECIALISED, budget, start_of
from clustersae.presentation.style import (
    GREY,
    HIGHLIGHT,
    INK,
    METHOD_COLOURS,
    METHOD_NAMES,
    canvas,
    conditions,
    kind_of,
    layer_ticks,
    percent_axis,
    seeds_note,
    styled,
)
from clustersae.presentation.words import percent, saes, share
from clustersae.runtime.words import counted


def draw(quality: pd.DataFrame, arms: pd.DataFrame, model: str) -> Figure:
    """FVU per layer (test split) of per-layer SAEs, a single SAE and the chosen arms.

    Chosen are a partition and, where there are any, the specialised arm that the verdict names.

    Args:
        quality: `tables/layer_quality.csv`.
        arms: `tables/arms.csv`.
        model: name for the subtitle.
    """
    shown = shared(arms)
    test = quality[quality["split"] == "test"]
    base = _by_layer(test, PER_LAYER)
    n_layers, n_seeds = len(base), int(arms["n_seeds"].min())
    names = [PER_LAYER]
    if (arms["arm"] == SINGLE).any() and (shown is None or shown["arm"] != SINGLE):
        names.append(SINGLE)
    chosen = [arm for arm in (shown, specialised(arms)) if arm is not None]
    with styled():
        figure = canvas(
            max(7.5, 0.36 * n_layers + 2.5),
            5.4,
            _finding(test, base, shown),
            conditions(model, n_layers, n_seeds, "test split", seeds_note(n_seeds)),
        )
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        if shown is not None:
            clusters = test[test["arm"] == shown["arm"]]["cluster"].unique()
            _bands((upper, lower), clusters, list(base.index))
        for name in names:
            _line(upper, test, name, arms)
        for arm in chosen:
            _line(upper, test, arm["arm"], arms)
        if chosen:
            _excess(
                lower, {arm["arm"]: _by_layer(test, arm["arm"]) for arm in chosen}, base, chosen
            )
        upper.set_ylabel("FVU (share of variance lost)")
        upper.set_ylim(bottom=0)
        upper.grid(True, axis="y")
        lower.grid(True, axis="y")
        lower.set_xlabel("layer")
        lower.set_ylabel("excess over\nper-layer")
        layer_ticks(lower, list(base.index))
        aside = 0.6 * _spacing(base.index)
        upper.set_xlim(base.index[0] - aside, base.index[-1] + aside)
        handles, labels = upper.get_legend_handles_labels()
        columns = len(labels) if sum(map(len, labels)) < 75 else 2
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _by_layer(test: pd.DataFrame, arm: str) -> pd.DataFrame:
    return test[test["arm"] == arm].groupby("layer")["fvu"].agg(["mean", "min", "max"])


def _finding(test: pd.DataFrame, base: pd.DataFrame, shown: pd.Series | None) -> str:
    if shown is None:
        return "FVU of every layer with its own SAE"
    excess = _by_layer(test, shown["arm"])["mean"] / base["mean"] - 1
    start = f"With {saes(shown['count'])} for {counted(len(base), 'layer')},"
    mean = shown["excess_fvu"]
    changes = f"the mean {'rises' if mean > 0 else 'changes'} by {percent(mean, True)}"
    if excess.max() <= 0:
        return f"{start} no layer loses; {changes}"
    text = f"{start} layer {excess.idxmax()} loses most: FVU {percent(excess.max(), True)}"
    lost = excess[excess > 0].sort_values(ascending=False)
    few = int((lost.cumsum() < lost.sum() / 2).sum()) + 1
    if few > len(base) / 4:
        return f"{text}; {changes}"
    layers = "that layer alone carries" if few == 1 else f"{few} layers carry"
    return f"{text}; {layers} half of all that sharing loses"


def _line(axis: Axes, test: pd.DataFrame, arm: str, arms: pd.DataFrame) -> None:
    row = arms.set_index("arm", drop=False).loc[arm]
    kind = kind_of(row)
    values = _by_layer(test, arm)
    shared = arm not in (PER_LAYER, SINGLE)
    name = f"{METHOD_NAMES[kind]}, K = {row['count']}" if shared else METHOD_NAMES[kind]
    if kind == SPECIALISED:
        name = f"specialised {start_of(row['partition'])}, {share(budget(row))} of training"
    axis.errorbar(
        values.index,
        values["mean"],
        yerr=[values["mean"] - values["min"], values["max"] - values["mean"]],
        label=name,
        color=GREY if arm == SINGLE else METHOD_COLOURS[kind],
        linewidth=1.8 if shared else 1.2,
        linestyle=(0, (2, 2)) if arm == SINGLE else "-",
        marker="o",
        markersize=5 if shared else 4,
        elinewidth=1.2,
        zorder=4 if shared else 3,
    )


def _bands(axes: tuple[Axes, Axes], clusters: list[str], studied: Sequence[int]) -> None:
    """Shade the layers of every second cluster, and name the clusters above."""
    ordered = sorted(clusters, key=lambda name: layers_of(name))
    small = max(len(name) for name in ordered) > 2 and len(ordered) > 9
    half = _spacing(studied) / 2
    for i, name in enumerate(ordered):
        own = runs(layers_of(name), studied)
        label = short_name(name, studied)
        for first, last in own:
            for axis in axes:
                if i % 2 == 0:
                    axis.axvspan(first - half, last + half, color="#0072B2", alpha=0.07, lw=0)
            axes[0].annotate(
                label,
                *(((first + last) / 2, 1), (0, 3)),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                size=7 if small else 8,
                color=GREY,
            )


def runs(layers: Sequence[int], studied: Sequence[int]) -> list[tuple[int, int]]:
    """First and last layer of each run of layers that follow one another among those studied."""
    places = [studied.index(layer) for layer in layers]
    starts = [studied[place] for place in places if place - 1 not in places]
    ends = [studied[place] for place in places if place + 1 not in places]
    return list(zip(starts, ends))


def short_name(cluster: str, studied: Sequence[int]) -> str:
    """A cluster as a figure has room for it: of every third layer, a run is named by its ends."""
    own = runs(layers_of(cluster), studied)
    return f"{own[0][0]}…{own[0][1]}" if len(own) == 1 and "+" in cluster else cluster


def _spacing(layers: Sequence[int]) -> int:
    """Least distance of two studied layers."""
    return min((after - before for before, after in pairwise(layers)), default=1)


def _excess(
    axis: Axes, values: dict[str, pd.DataFrame], base: pd.DataFrame, chosen: list[pd.Series]
) -> None:
    """What each layer pays, one bar beside the other; the worst of the first arm stands out."""
    width = 0.62 * _spacing(base.index) / len(chosen)
    low, high = 0.0, 0.001
    for i, arm in enumerate(chosen):
        excess = values[arm["arm"]]["mean"] / base["mean"] - 1
        low, high = min(low, excess.min()), max(high, excess.max())
        colour, worst = METHOD_COLOURS[kind_of(arm)], excess.idxmax()
        colours = [HIGHLIGHT if i == 0 and layer == worst else colour for layer in excess.index]
        aside = (i - (len(chosen) - 1) / 2) * width
        axis.bar(excess.index + aside, excess, color=colours, width=width, zorder=3)
        if i == 0:
            _name_worst(axis, excess, aside)
    axis.axhline(0, color=INK, linewidth=0.8, zorder=4)
    axis.set_ylim(low * 1.15, high * 1.35)
    percent_axis(axis)


def _name_worst(axis: Axes, excess: pd.Series, aside: float) -> None:
    worst = excess.idxmax()
    # At either end of the axis the label leans inwards.
    at = list(excess.index).index(worst) / max(len(excess) - 1, 1)
    side, edge = ("left", -0.31) if at < 0.1 else ("right", 0.31) if at > 0.9 else ("center", 0)
    edge *= _spacing(excess.index)
    axis.annotate(
        f"worst: {percent(excess[worst], True)}",
        *((worst + (edge or aside), max(excess[worst], 0)), (0, 3)),
        textcoords="offset points",
        ha=side,
        size=8.5,
        weight="bold",
        color=HIGHLIGHT,
    )
