"""How much of each task the circuits of every arm carry, against what the arm was trained for."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clustersae.circuits.summary import listed, of_mode, verdict
from clustersae.circuits.table import RESIDUAL_BASIS, overall
from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.tasks import ALL_TASKS
from clustersae.experiment.variants import EQUAL_EXPOSURE
from clustersae.presentation.points import handles_of, looks_of_arms, places_of, point, reference
from clustersae.presentation.style import (
    GREY,
    INK,
    METHOD_COLOURS,
    Look,
    canvas,
    conditions,
    styled,
)
from clustersae.runtime.words import counted
from clustersae.statistics.equivalence import WORDS, Word

_PANELS = {
    "distance": "distance of faithfulness\nfrom 1 (low is good)",
    "completeness": "area under completeness\n(low is good)",
    "deviation": "deviation of all latents\n(low is good)",
}
#: What stands for the errors of reconstruction → its name.
ERRORS = {"ablated": "errors ablated", "nodes": "errors are nodes", "kept": "errors kept"}
_BASIS, _RANDOM = (0, (4, 2)), (0, (1, 1.5))


def draw(
    circuits: pd.DataFrame, tasks: pd.DataFrame, errors: str, ablation: str, model: str
) -> Figure:
    """One column per task (and the mean of all), one row per measure.

    Arms at equal exposure, and those that were trained for longer than the full per-layer SAEs,
    are left to the table, and so is what has no number.

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
        baseline = rows[rows["arm"] == PER_LAYER].iloc[0]
        n_layers, n_seeds = int(baseline["count"]), int(baseline["n_seeds"])
        rows = rows[(rows["matched_count"] <= n_layers) & (rows["role"] != EQUAL_EXPOSURE)]
        random = of_mode(circuits, errors, ablation, "random")
        names, arms = list(dict.fromkeys(rows["task"])), _arms(rows)
        looks, places = looks_of_arms(arms, n_layers), places_of(arms, n_layers)
        over = "prompts and seeds" if n_seeds > 1 else "prompts"
        figure = canvas(
            *(width := column_width(len(names)) * len(names) + 0.8, 7.6),
            _finding(rows),
            conditions(
                *(model, n_layers, n_seeds, ERRORS[errors], f"{ablation} ablation"),
                f"bars and band: 95 % intervals over {over}",
                _hollow(rows, ablation),
            ),
        )
        axes = figure.subplots(len(_PANELS), len(names), squeeze=False, sharex=True, sharey="row")
        for column, task in zip(axes.T, names):
            own, chance = (frame[frame["task"] == task] for frame in (rows, random))
            for axis, measure in zip(column, _PANELS):
                _panel(axis, own, chance, measure, looks, places)
            note = ": small gap" if own["distance"].isna().all() else ""
            n_prompts = int(own["n_prompts"].iloc[0])
            column[0].set_title(f"{task_title(task)}\n{counted(n_prompts, 'prompt')}{note}")
            column[-1].set_xlabel("training, in per-layer SAEs")
            column[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
        for axis, label in zip(axes[:, 0], _PANELS.values()):
            axis.set_ylabel(label)
        highest = rows[["deviation", "deviation_high"]].max(axis=None)
        axes[-1, 0].set_ylim(0, 1 if np.isnan(highest) else 1.1 * highest)
        handles = _handles(rows, random, looks)
        figure.legend(handles=handles, loc="outside lower center", ncols=int(width / 2.2))
    return figure


def without_tasks(tasks: pd.DataFrame, model: str) -> Figure:
    """What stands in the place of a figure where circuits mean something for no task."""
    tried = ", ".join(tasks["task"])
    return canvas(
        *(7.5, 0.1, "No circuits: none of the tasks that were asked for is usable"),
        f"{model} · tried: {tried} · why not: tables/tasks.csv",
    )


def task_title(task: str) -> str:
    """What a task is called above its panels, in lines that fit them."""
    if task == ALL_TASKS:
        return "mean of all tasks"
    return textwrap.fill(task.removeprefix("toy_").replace("_", " "), 26)


def column_width(n_columns: int) -> float:
    """Inches per task: one is as wide as its title needs, many are narrow."""
    return {1: 7.2, 2: 4.2}.get(n_columns, 3.0 if n_columns < 5 else 2.4)


def _finding(rows: pd.DataFrame) -> str:
    """Which measures tell one SAE for all layers from per-layer SAEs, over all tasks."""
    over = overall(rows)
    single = over[over["arm"] == SINGLE]
    if single.empty or not _is_compared(single):
        return "How much of each task the circuits of every arm carry"
    row, baseline = single.iloc[0], over[over["arm"] == PER_LAYER].iloc[0]
    found: dict[Word, list[str]] = {word: [] for word in ("worse", "better", *WORDS)}
    for name in _PANELS:
        numbers = f"{name} ({row[name]:.2f} against {baseline[name]:.2f})"
        found[verdict(row, name)].append(numbers)
    parts = [f"{word} by {listed(names)}" for word, names in found.items() if names]
    return f"One SAE for all layers against per-layer SAEs: {'; '.join(parts)}"


def _hollow(rows: pd.DataFrame, ablation: str) -> str:
    if _is_compared(rows):
        return "hollow: undecided against per-layer (the paired interval includes zero)"
    return f"hollow: not compared (with {ablation} ablation, or by too small a gap)"


def _is_compared(rows: pd.DataFrame) -> bool:
    """Whether any row has a difference from the per-layer SAEs."""
    return bool(rows[[f"{name}_vs_baseline" for name in _PANELS]].notna().any(axis=None))


def _arms(rows: pd.DataFrame) -> pd.DataFrame:
    """One row of each, without the control that has no SAEs."""
    return rows[rows["partition"] != RESIDUAL_BASIS].drop_duplicates("arm")


def _panel(
    axis: Axes,
    rows: pd.DataFrame,
    random: pd.DataFrame,
    measure: str,
    looks: Mapping[str, Look],
    places: Mapping[str, float],
) -> None:
    rows = rows.set_index("arm")
    baseline = rows.loc[PER_LAYER]
    rows, random = (each[each[measure].notna()] for each in (rows, random))
    reference(axis, baseline, measure)
    if PER_LAYER in rows.index:
        axis.plot(baseline["count"], baseline[measure], "o", color=INK, markersize=5, zorder=3)
    # The stream's own dimensions deviate in nothing, and all latents are no circuit at random.
    if measure != "deviation":
        if RESIDUAL_BASIS in rows.index:
            height = rows.loc[RESIDUAL_BASIS, measure]
            axis.axhline(height, color=GREY, linewidth=1.2, ls=_BASIS, zorder=1)
        for chance in random.loc[random["arm"] == PER_LAYER, measure]:
            axis.axhline(chance, color=GREY, linewidth=1.2, ls=_RANDOM, zorder=1)
    shown = rows.loc[[name for name in looks if name in rows.index]]
    main = shown[shown["role"] == "main"].sort_values("count")
    ends = [*main["matched_count"], baseline["count"]], [*main[measure], baseline[measure]]
    axis.plot(*ends, color=METHOD_COLOURS["complete"], lw=1.0, alpha=0.5, zorder=2)
    for name, arm in shown.iterrows():
        filled = verdict(arm, measure) != "undecided"
        point(axis, arm, measure, places[name], looks[name], filled)
    axis.grid(True, axis="y")


def _handles(
    rows: pd.DataFrame, random: pd.DataFrame, looks: Mapping[str, Look]
) -> Sequence[Line2D]:
    handles = handles_of(looks)
    if (rows["partition"] == RESIDUAL_BASIS).any():
        handles.append(Line2D([], [], color=GREY, ls=_BASIS, label="no SAE: residual basis"))
    if len(random):
        handles.append(Line2D([], [], color=GREY, ls=_RANDOM, label="random circuits, per-layer"))
    return handles
