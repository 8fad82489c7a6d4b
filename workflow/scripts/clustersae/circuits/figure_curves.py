"""Faithfulness and completeness against the size of a circuit, for a few arms and all errors."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustersae.circuits.figure_areas import ERRORS, column_width, task_title, without_tasks
from clustersae.circuits.table import RESIDUAL_BASIS, overall
from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.presentation.style import (
    FAINT,
    GREY,
    INK,
    METHOD_COLOURS,
    Look,
    canvas,
    conditions,
    log_scale,
    styled,
)
from clustersae.presentation.words import share

_MEASURES = {"faithfulness": "-", "completeness": (0, (3, 1.5))}
_PALE = "#b3b3b3"

#: (arm, control)
Drawn = tuple[str, str]


def draw(
    curves: pd.DataFrame, circuits: pd.DataFrame, tasks: pd.DataFrame, ablation: str, model: str
) -> Figure:
    """One row per mode of errors, one column per task (and the mean of all).

    Args:
        curves: `tables/circuit_curves.csv`.
        circuits: `tables/circuits.csv`, which knows the arms' roles.
        tasks: `tables/tasks.csv`.
        ablation: the one that is drawn.
        model: name for the subtitle.
    """
    with styled():
        shown = curves[curves["ablation"] == ablation]
        if shown.empty:
            return without_tasks(tasks, model)
        names, modes = list(dict.fromkeys(shown["task"])), list(dict.fromkeys(shown["errors"]))
        looks = _looks(circuits)
        n_layers = int(circuits.loc[circuits["arm"] == PER_LAYER, "count"].iloc[0])
        figure = canvas(
            *(column_width(len(names)) * len(names) + 0.6, 2.3 * len(modes) + 0.8),
            _finding(shown[shown["errors"] == modes[0]], looks),
            conditions(
                *(model, n_layers, int(shown["n_seeds"].max()), f"{ablation} ablation"),
                "solid: faithfulness, what a circuit carries; dashed: completeness, what is left"
                " without it; means over seeds",
            ),
        )
        axes = figure.subplots(len(modes), len(names), squeeze=False, sharex=True, sharey=True)
        for line, errors in zip(axes, modes):
            for axis, task in zip(line, names):
                rows = shown[(shown["errors"] == errors) & (shown["task"] == task)]
                _panel(axis, rows, looks)
            line[0].set_ylabel(ERRORS[errors])
        for axis, task in zip(axes[0], names):
            axis.set_title(task_title(task))
        axes[0, 0].set(ylim=_limits(shown), xlim=(0.9, 1.1 * shown["size"].max()))
        for axis in axes[-1]:
            axis.set_xlabel("nodes in the circuit")
            log_scale(axis, "x", 5, lambda value: f"{value:,.0f}")
        figure.legend(
            handles=[
                axes[0, 0].plot([], [], color=look.colour, label=look.label)[0]
                for look in reversed(looks.values())
            ],
            loc="outside lower center",
            ncols=3 if len(names) == 1 else len(looks),
        )
    return figure


def _finding(rows: pd.DataFrame, looks: dict[Drawn, Look]) -> str:
    """How many nodes carry half of the behaviour, in one mode of errors."""
    over = overall(rows)
    parts = []
    for (arm, control), look in reversed(looks.items()):
        own = over[(over["arm"] == arm) & (over["control"] == control)]
        enough = own.loc[own["faithfulness"] >= 0.5, "size"]
        size = f"{enough.min():,}" if len(enough) else f"more than {own['size'].max():,}"
        size = "not known" if own["faithfulness"].isna().all() else size
        name = re.split("[:,]", look.label)[0]
        parts.append(f"{name} {size}".replace(" ", "\u00a0"))
    which = ERRORS[rows["errors"].iloc[0]]
    return f"Nodes that carry half of a behaviour, {which}: {', '.join(parts)}"


def _looks(circuits: pd.DataFrame) -> dict[Drawn, Look]:
    """How what is drawn looks, the baseline last and so on top."""
    specialised = circuits[circuits["role"] == "specialised"]
    looks = {
        (PER_LAYER, "random"): Look(_PALE, "", "random circuits, per-layer"),
        (RESIDUAL_BASIS, "none"): Look(GREY, "", "no SAE: residual basis"),
        (SINGLE, "none"): Look(METHOD_COLOURS["single"], "", "one SAE for all"),
    }
    if len(specialised):
        # The cheapest, which is the one that the question of cost is about.
        arm = specialised.loc[specialised["matched_count"].idxmin()]
        label = f"specialised, {share(arm['matched_count'] / arm['count'])} of the training"
        looks[arm["arm"], "none"] = Look(METHOD_COLOURS["specialised"], "", label)
    looks[PER_LAYER, "none"] = Look(INK, "", "per-layer")
    there = set(zip(circuits["arm"], circuits["control"]))
    return {key: look for key, look in looks.items() if key in there}


def _panel(axis: Axes, rows: pd.DataFrame, looks: dict[Drawn, Look]) -> None:
    for height in (0, 1):
        axis.axhline(height, color=FAINT, linewidth=0.8, zorder=0)
    for (arm, control), look in looks.items():
        own = rows[(rows["arm"] == arm) & (rows["control"] == control)].sort_values("size")
        for measure, dashes in _MEASURES.items():
            axis.plot(own["size"], own[measure], color=look.colour, ls=dashes, lw=1.4)
    axis.grid(True, axis="y")


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """All curves, but for excursions that would flatten the others; 0 and 1 if there is none."""
    values = np.append(rows[list(_MEASURES)].to_numpy(), (0.0, 1.0))
    values = values[~np.isnan(values)]
    return max(-1.0, float(values.min()) - 0.05), min(2.0, max(1.1, float(values.max()) + 0.05))
