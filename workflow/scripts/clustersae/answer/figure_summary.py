"""One figure for a paper: quality over cost, what training costs, circuits over training."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import offset_copy

from clustersae.answer.summary import ROLES
from clustersae.presentation.starts import looks_of
from clustersae.presentation.style import (
    FAINT,
    GREY,
    INK,
    MARKERS,
    METHOD_COLOURS,
    Look,
    bars,
    percent_axis,
    styled,
    thinned,
)
from clustersae.presentation.words import share

#: Two columns of a page, in inches.
WIDTH = 6.9
#: Bars of the panel of costs, at most.
MOST_BARS = 10
#: Points: of a page, not of a screen.
_RC: dict[Any, Any] = {
    **{"font.size": 7, "axes.titlesize": 8, "axes.labelsize": 7, "legend.fontsize": 6.5},
    **{"axes.linewidth": 0.6, "lines.linewidth": 1.2},
}


def draw(summary: pd.DataFrame, margins: Mapping[str, float], model: str) -> Figure:
    """Two panels, or three where circuits were measured.

    It has no headline: in a paper, the text below a figure says what it shows.

    Args:
        summary: `tables/summary.csv`.
        margins: largest differences that do not matter, `mean` of excess FVU.
        model: whose name stands above the legend.
    """
    with styled(), rc_context(_RC):
        has_circuits = "distance" in summary and bool(summary["distance"].notna().any())
        figure = Figure(figsize=(WIDTH, 2.75), layout="constrained")
        figure.set_label("Quality, cost and circuits at a glance, for a paper")
        axes = figure.subplots(1, 2 + has_circuits)
        looks = _looks(summary)
        _quality(axes[0], summary, looks, margins["mean"])
        _cost(axes[1], summary, looks)
        if has_circuits:
            _circuits(axes[2], summary, looks)
        titles = ("Quality and cost", "Where the cost goes", "Circuits")
        for letter, title, axis in zip("abc", titles, axes):
            axis.set_title(f"{letter}  {title}")
            axis.tick_params(labelsize=6.5, width=0.6, length=2.5)
        axes[1].tick_params(axis="y", length=0)
        handles: list[Artist] = [_handle(look) for look in dict.fromkeys(looks.values())]
        handles.append(Patch(color=FAINT, label="caching"))
        # Not in a panel, where curves would run into it.
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=4,
            columnspacing=1.2,
            title=model,
            title_fontproperties={"size": 6.5},
        ).get_title().set_color(GREY)
    return figure


def _looks(summary: pd.DataFrame) -> dict[str, Look]:
    """How every arm is drawn, by name; arms that one line joins look alike."""
    starts = looks_of(summary.loc[summary["role"] == "specialised", "partition"])
    shared = Look(METHOD_COLOURS["complete"], MARKERS["complete"], "K shared SAEs")
    lengths = Look(INK, "s", "per-layer, by training")
    narrower = Look(METHOD_COLOURS["narrower"], MARKERS["narrower"], "per-layer, narrower")
    looks = {}
    for _, arm in summary.iterrows():
        if arm["role"] == "specialised":
            looks[arm["arm"]] = starts[arm["partition"]]
        elif arm["role"] == "main":
            looks[arm["arm"]] = shared
        else:
            looks[arm["arm"]] = narrower if arm["variant"].startswith("narrower") else lengths
    return looks


def _handle(look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.marker, markersize=4, label=look.label)


def _lines(
    axis: Axes, summary: pd.DataFrame, looks: Mapping[str, Look], x: str, y: str, apart: float = 0.0
) -> None:
    """A line with intervals for every look; that of shared SAEs goes on to per-layer ones.

    Args:
        apart: points by which every look is moved to the side, where arms share a place.
    """
    baseline = summary[summary["role"] == "baseline"]
    look_of = summary["arm"].map(looks)
    distinct = list(dict.fromkeys(looks.values()))
    for number, look in enumerate(distinct):
        rows = summary[(look_of == look) & summary[y].notna()].sort_values(x)
        aside = apart * (number - (len(distinct) - 1) / 2)
        figure = cast(Figure, axis.figure)
        place = offset_copy(axis.transData, figure, x=aside, units="points")
        is_main = (rows["role"] == "main").any()
        joined = pd.concat([rows, baseline]).sort_values(x) if is_main else rows
        axis.plot(
            *(joined[x], joined[y]),
            color=look.colour,
            lw=0.8 if is_main else 1.2,
            ls=(0, (3, 2)) if is_main else "-",
            zorder=2,
            transform=place,
        )
        axis.errorbar(
            *(rows[x], rows[y]),
            yerr=bars(rows, y),
            **look.sized(3.5, star=5.5),
            ls="none",
            elinewidth=0.7,
            zorder=3,
            transform=place,
        )
    # What is drawn to the side does not count by itself.
    for end in ("", "_low", "_high"):
        drawn = summary[[x, f"{y}{end}"]].dropna()
        axis.update_datalim(drawn.to_numpy(dtype=float))
    axis.autoscale_view()
    axis.grid(True, axis="y")


def _quality(axis: Axes, summary: pd.DataFrame, looks: Mapping[str, Look], margin: float) -> None:
    axis.axhspan(-margin, margin, color=FAINT, alpha=0.5, lw=0, zorder=0)
    axis.axhline(0, color=INK, linewidth=0.6, zorder=1)
    _lines(axis, summary, looks, "cost_relative", "excess_fvu")
    for _, row in _labelled(summary).iterrows():
        axis.annotate(
            f"K = {row['count']}",
            *((row["cost_relative"], row["excess_fvu"]), (3, 2)),
            textcoords="offset points",
            size=6,
            color=METHOD_COLOURS["complete"],
        )
    axis.set_xlabel("cost (per-layer SAEs: 100 %)")
    axis.set_ylabel("excess FVU, mean over layers")
    axis.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    axis.xaxis.set_major_locator(_locator())
    axis.margins(x=0.12, y=0.1)
    percent_axis(axis)


def _locator() -> MaxNLocator:
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])


def _labelled(summary: pd.DataFrame) -> pd.DataFrame:
    """Shared arms whose K is written beside them: those far enough from one another."""
    main = summary[summary["role"] == "main"].sort_values("count")
    points = main[["cost_relative", "excess_fvu"]]
    extent = np.ptp(summary[["cost_relative", "excess_fvu"]].to_numpy(), axis=0).clip(min=1e-9)
    kept: list[int] = []
    for place in range(len(main)):
        away = np.abs(points.iloc[place] - points.iloc[kept]) / extent
        if ((away > (0.22, 0.1)).any(axis=1)).all():
            kept.append(place)
    return main.iloc[kept]


def _cost(axis: Axes, summary: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    rows = _bars(summary)
    places = np.arange(len(rows))
    axis.barh(places, rows["caching_share"], 0.7, color=FAINT)
    colours = [looks[arm].colour for arm in rows["arm"]]
    axis.barh(places, rows["training_share"], 0.7, left=rows["caching_share"], color=colours)
    axis.set_yticks(places, [_short(row) for _, row in rows.iterrows()])
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    axis.xaxis.set_major_locator(_locator())
    axis.set_xlabel("time (per-layer SAEs: 100 %)")
    axis.grid(True, axis="x")


def _bars(summary: pd.DataFrame) -> pd.DataFrame:
    """The full per-layer SAEs, and of every kind of arms as many as there is room for.

    Specialised arms of one budget cost the same wherever they start: one stands for all.
    """
    ordered = summary.sort_values("matched_count", ascending=False, kind="stable")
    kind = ordered["variant"].str.startswith("narrower")
    ordered = ordered[~ordered.assign(kind=kind).duplicated(["role", "kind", "budget"])]
    kinds = {role: ordered[ordered["role"] == role] for role in ROLES}
    picked = [kinds["baseline"]]
    for role, most in (("specialised", 3), ("equal-compute", 3), ("main", MOST_BARS)):
        room = max(2, min(most, MOST_BARS - sum(map(len, picked))))
        picked.append(kinds[role].iloc[thinned(range(len(kinds[role])), room)])
    baseline, special, alone, main = picked
    return pd.concat([baseline, main, special, alone])


def _short(row: pd.Series) -> str:
    """An arm's name as a bar has room for it."""
    if row["role"] == "main":
        return f"{row['count']} shared"
    training = share(row["budget"])
    if row["role"] == "specialised":
        return f"specialised, {training}"
    kind = "narrower" if row["variant"].startswith("narrower") else "per-layer"
    return f"{kind}, {training}"


def _circuits(axis: Axes, summary: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    baseline = summary[summary["role"] == "baseline"].iloc[0]
    low, high = baseline["distance_low"], baseline["distance_high"]
    if not np.isnan(low):
        axis.axhspan(low, high, color=FAINT, alpha=0.5, lw=0, zorder=0)
    axis.axhline(baseline["distance"], color=INK, linewidth=0.6, zorder=1)
    _lines(axis, summary, looks, "budget", "distance", apart=2.0)
    axis.set_xlabel("training (per-layer SAEs: 100 %)")
    axis.set_ylabel("distance from faithfulness 1, all tasks")
    axis.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    axis.xaxis.set_major_locator(_locator())
    axis.margins(x=0.08, y=0.1)
