"""Arms as points beside one another: how each is drawn, and where at a place that several share."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.presentation.judging import same_training
from clustersae.presentation.starts import looks_of
from clustersae.presentation.style import (
    FAINT,
    INK,
    MARKERS,
    METHOD_COLOURS,
    Look,
    bars,
    kind_of,
    name_of,
)


def looks_of_arms(rows: pd.DataFrame, n_layers: int) -> dict[str, Look]:
    """Colour, marker and name of every arm in a table but the full per-layer SAEs."""
    starts = looks_of(rows.loc[rows["role"] == "specialised", "partition"])
    looks = {}
    for _, arm in rows[rows["arm"] != PER_LAYER].iterrows():
        kind = kind_of(arm)
        own = Look(METHOD_COLOURS[kind], MARKERS[kind], name_of(arm, n_layers))
        looks[arm["arm"]] = starts.get(arm["partition"], own)
    return looks


def places_of(rows: pd.DataFrame, n_layers: int) -> dict[str, float]:
    """Where every arm stands on an axis of training: where it belongs, or beside it.

    Of the arms that were trained alike the main method's keeps its place, since a line goes there.
    """
    ordered = rows.sort_values("matched_count", kind="stable")
    spent = ordered["matched_count"]
    alike = (~same_training(spent, spent.shift())).cumsum()
    places = {}
    for _, arms in ordered.groupby(alike):
        arms = arms.sort_values("role", key=lambda roles: roles != "main", kind="stable")
        for number, name in enumerate(arms["arm"]):
            # 0, then one step to the left, one to the right, two to the left, ...
            step = (number + 1) // 2 * (-1) ** number
            places[name] = arms["matched_count"].iloc[0] + 0.025 * n_layers * step
    return places


def point(
    axis: Axes,
    arm: pd.Series,
    column: str,
    place: float,
    look: Look,
    filled: bool = True,
    interval: bool = True,
) -> None:
    """One arm's value of a column, with its interval."""
    ends = bars(arm.to_frame().T, column) if interval else None
    axis.errorbar(
        *(place, arm[column]),
        yerr=None if ends is None or not ends.any() else ends,
        **look.sized(5.5, star=9),
        ls="none",
        elinewidth=1.0,
        markerfacecolor=look.colour if filled else "white",
        zorder=4,
    )


def reference(axis: Axes, baseline: pd.Series, column: str) -> None:
    """The full per-layer SAEs: a line, with a band if it has an interval; nothing where not
    measured."""
    low, high = baseline[f"{column}_low"], baseline[f"{column}_high"]
    if not np.isnan(low):
        axis.axhspan(low, high, color=FAINT, alpha=0.6, lw=0, zorder=0)
    if not np.isnan(baseline[column]):
        axis.axhline(baseline[column], color=INK, linewidth=1.2, zorder=1)


def handles_of(looks: Mapping[str, Look]) -> list[Line2D]:
    """For the legend: the full per-layer SAEs, and each look once."""
    # One SAE for all is an end of the main method's line, and drawn as that.
    several = [name for name in looks if name != SINGLE]
    return [
        Line2D([], [], color=INK, marker="o", ms=5, label="per-layer"),
        *(
            Line2D([], [], color=look.colour, marker=look.marker, ls="none", label=look.label)
            for look in dict.fromkeys(looks[name] for name in several or looks)
        ),
    ]
