"""Faithfulness and completeness against the size of a circuit, for a few arms and all errors."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustersae.arms import PER_LAYER, SINGLE
from clustersae.figures.circuits import without_tasks
from clustersae.figures.style import FAINT, GREY, INK, METHOD_COLOURS, canvas, conditions, styled
from clustersae.tables.circuits import RESIDUAL_BASIS

_ERRORS = {
    "ablated": "errors ablated",
    "nodes": "errors are nodes",
    "kept": "errors kept",
}
_MEASURES = {"faithfulness": "-", "completeness": (0, (3, 1.5))}


def draw(
    curves: pd.DataFrame, circuits: pd.DataFrame, tasks: pd.DataFrame, ablation: str, model: str
) -> Figure:
    """One row per mode of errors, one column per task.

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
            *(max(8.5, 3.1 * len(names) + 0.6), 2.3 * len(modes) + 0.6),
            "How many latents a behaviour takes: circuits from one node to as many as the streams"
            " have dimensions",
            conditions(
                *(model, n_layers, int(shown["n_seeds"].max()), f"{ablation} ablation"),
                "solid: what a circuit carries (faithfulness); dashed: what is left without it"
                " (completeness); means over seeds",
            ),
        )
        axes = figure.subplots(len(modes), len(names), squeeze=False, sharex=True, sharey=True)
        for line, errors in zip(axes, modes):
            for axis, task in zip(line, names):
                rows = shown[(shown["errors"] == errors) & (shown["task"] == task)]
                _panel(axis, rows, looks)
            line[0].set_ylabel(_ERRORS[errors])
        for axis, task in zip(axes[0], names):
            axis.set_title(task.removeprefix("toy_").replace("_", " "))
        for axis in axes[-1]:
            axis.set_xlabel("nodes in the circuit")
        axes[0, 0].set_ylim(*_limits(shown))
        handles = [axes[0, 0].plot([], [], color=c, ls="-", label=n)[0] for n, c in looks.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _looks(circuits: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    """(arm, control) → name and colour of what is drawn, the baseline last and so on top."""
    specialised = circuits[circuits["role"] == "specialised"]
    looks = {
        (PER_LAYER, "random"): ("random circuits, per-layer", FAINT),
        (RESIDUAL_BASIS, "none"): ("no SAE: residual basis", GREY),
        (SINGLE, "none"): ("one SAE for all", METHOD_COLOURS["single"]),
    }
    if len(specialised):
        cheapest = specialised.loc[specialised["matched_count"].idxmin(), "arm"]
        looks[cheapest, "none"] = ("specialised", METHOD_COLOURS["specialised"])
    looks[PER_LAYER, "none"] = ("per-layer", INK)
    there = set(zip(circuits["arm"], circuits["control"]))
    return {key: look for key, look in looks.items() if key in there}


def _panel(axis: Axes, rows: pd.DataFrame, looks: dict) -> None:
    for height in (0, 1):
        axis.axhline(height, color=FAINT, linewidth=0.8, zorder=0)
    for (arm, control), (_, colour) in looks.items():
        own = rows[(rows["arm"] == arm) & (rows["control"] == control)].sort_values("size")
        for measure, dashes in _MEASURES.items():
            axis.plot(own["size"], own[measure], color=colour, ls=dashes, lw=1.4)
    axis.set_xscale("log")
    axis.grid(True, axis="y")


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """All curves, but for excursions that would flatten the others."""
    values = rows[list(_MEASURES)].to_numpy()
    return max(-1.0, float(values.min()) - 0.05), min(2.0, max(1.1, float(values.max()) + 0.05))
