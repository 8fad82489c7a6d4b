"""How much of each task the circuits of every arm carry, against what the arm was trained for."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clustersae.arms import PER_LAYER, SINGLE
from clustersae.figures.style import (
    FAINT,
    GREY,
    INK,
    MARKERS,
    METHOD_COLOURS,
    canvas,
    conditions,
    kind_of,
    name_of,
    styled,
)
from clustersae.tables.circuits import ALL_TASKS, RESIDUAL_BASIS
from clustersae.tables.verdict_circuits import of_mode, separates

_PANELS = {
    "faithfulness": "faithfulness, area\n(high is good)",
    "completeness": "completeness, area\n(low is good)",
    "deviation": "deviation of all latents\n(low is good)",
}
_ERRORS = {"ablated": "errors ablated", "nodes": "errors as nodes", "kept": "errors kept"}


def draw(
    circuits: pd.DataFrame, tasks: pd.DataFrame, errors: str, ablation: str, model: str
) -> Figure:
    """One column per task (and the mean of all), one row per measure.

    Args:
        circuits: `tables/circuits.csv`.
        tasks: `tables/tasks.csv`.
        errors, ablation: the mode that is drawn.
        model: name for the subtitle.
    """
    with styled():
        rows = of_mode(circuits, errors, ablation)
        if rows.empty:
            return without_tasks(tasks, model)
        random = of_mode(circuits, errors, ablation, "random")
        columns = list(dict.fromkeys(rows["task"]))
        baseline = rows[rows["arm"] == PER_LAYER].iloc[0]
        n_layers = int(baseline["count"])
        figure = canvas(
            *(width := max(8.5, 3.0 * len(columns) + 0.8), 7.6),
            _finding(rows),
            conditions(
                *(model, n_layers, int(baseline["n_seeds"]), _ERRORS[errors]),
                f"{ablation} ablation",
                "bars and band: 95 % intervals over prompts and seeds",
            ),
        )
        axes = figure.subplots(len(_PANELS), len(columns), squeeze=False, sharex=True, sharey="row")
        for column, task in zip(axes.T, columns):
            for axis, measure in zip(column, _PANELS):
                own, chance = rows[rows["task"] == task], random[random["task"] == task]
                _panel(axis, own, chance if measure != "deviation" else None, measure, n_layers)
            column[0].set_title(_title(task, own))
            column[-1].set_xlabel("training, in per-layer SAEs")
        for axis, label in zip(axes[:, 0], _PANELS.values()):
            axis.set_ylabel(label)
        handles = _handles(rows, random, n_layers)
        figure.legend(handles=handles, loc="outside lower center", ncols=int(width / 2))
    return figure


def without_tasks(tasks: pd.DataFrame, model: str) -> Figure:
    """What stands in the place of a figure where the model can do no task."""
    tried = ", ".join(tasks["task"])
    return canvas(
        *(7.5, 0.1, "The model can do none of the tasks that were asked for"),
        f"{model} · tried: {tried} · why not: tables/tasks.csv",
    )


def _title(task: str, rows: pd.DataFrame) -> str:
    name = "mean of all tasks" if task == ALL_TASKS else task.removeprefix("toy_").replace("_", " ")
    return f"{name}\n{int(rows['n_prompts'].iloc[0])} prompts"


def _finding(rows: pd.DataFrame) -> str:
    """What the figure shows of the question whether circuits tell arms apart."""
    over = rows[
        rows["task"] == (ALL_TASKS if (rows["task"] == ALL_TASKS).any() else rows["task"].iloc[0])
    ]
    single = over[over["arm"] == SINGLE]
    if single.empty:
        return "How much of each task the circuits of every arm carry"
    row, baseline = single.iloc[0], over[over["arm"] == PER_LAYER].iloc[0]
    told = {-1: "finds it worse", 0: "does not tell them apart", 1: "finds it better"}
    parts = [
        f"{name} {told[separates(row, measure)]} ({row[measure]:.2f} against"
        f" {baseline[measure]:.2f})"
        for measure, name in {"faithfulness": "faithfulness", "deviation": "deviation"}.items()
    ]
    return f"One SAE for all layers against per-layer SAEs: {parts[0]}, {parts[1]}"


def _panel(
    axis: Axes, rows: pd.DataFrame, random: pd.DataFrame | None, measure: str, n_layers: int
) -> None:
    baseline = rows[rows["arm"] == PER_LAYER].iloc[0]
    axis.axhspan(
        baseline[f"{measure}_low"], baseline[f"{measure}_high"], color=FAINT, lw=0, zorder=0
    )
    axis.axhline(baseline[measure], color=INK, linewidth=1.2, zorder=1)
    basis = rows[rows["partition"] == RESIDUAL_BASIS]
    if len(basis) and measure != "deviation":
        axis.axhline(basis[measure].iloc[0], color=GREY, linewidth=1.2, ls=(0, (4, 2)), zorder=1)
    if random is not None and len(random):
        chance = random[random["arm"] == PER_LAYER][measure].iloc[0]
        axis.axhline(chance, color=GREY, linewidth=1.2, ls=(0, (1, 1.5)), zorder=1)
    shown = rows[(rows["arm"] != PER_LAYER) & (rows["partition"] != RESIDUAL_BASIS)]
    main = shown[shown["role"] == "main"].sort_values("count")
    axis.plot(
        main["matched_count"], main[measure], color=METHOD_COLOURS["complete"], lw=1.0, alpha=0.5
    )
    for place, arms in shown.groupby("matched_count"):
        for index, (_, arm) in enumerate(arms.iterrows()):
            aside = 0.022 * n_layers * (index - (len(arms) - 1) / 2)
            _point(axis, arm, place + aside, measure)
    axis.grid(True, axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def _point(axis: Axes, arm: pd.Series, place: float, measure: str) -> None:
    kind = kind_of(arm)
    ends = [[arm[measure] - arm[f"{measure}_low"]], [arm[f"{measure}_high"] - arm[measure]]]
    axis.errorbar(
        *(place, arm[measure]),
        yerr=None if np.isnan(ends).any() else np.clip(ends, 0, None),
        **{"color": METHOD_COLOURS[kind], "marker": MARKERS[kind], "ls": "none"},
        **{"elinewidth": 1.0, "markersize": 9 if kind == "specialised" else 5},
        zorder=3,
    )


def _handles(rows: pd.DataFrame, random: pd.DataFrame, n_layers: int) -> Sequence[Line2D]:
    handles = [Line2D([], [], color=INK, label="per-layer")]
    seen: dict[str, str] = {}
    for _, arm in rows.iterrows():
        # One SAE for all is an end of the main method's line, and drawn as that.
        if arm["arm"] not in (PER_LAYER, SINGLE) and arm["partition"] != RESIDUAL_BASIS:
            seen.setdefault(name_of(arm, n_layers), kind_of(arm))
    handles += [
        Line2D([], [], color=METHOD_COLOURS[kind], marker=MARKERS[kind], ls="none", label=name)
        for name, kind in seen.items()
    ]
    if (rows["partition"] == RESIDUAL_BASIS).any():
        handles.append(Line2D([], [], color=GREY, ls=(0, (4, 2)), label="no SAE: residual basis"))
    if len(random):
        handles.append(Line2D([], [], color=GREY, ls=(0, (1, 1.5)), label="random circuits"))
    return handles
