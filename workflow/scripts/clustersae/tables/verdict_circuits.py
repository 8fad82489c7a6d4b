"""What the circuits answer, in words: which tasks, and whether they tell arms apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clustersae.arms import PER_LAYER, SINGLE
from clustersae.tables.circuits import ALL_TASKS
from clustersae.tables.words import share

#: What a difference from per-layer SAEs would mean, were it above zero.
_MEASURES = {
    "faithfulness": ("the area under faithfulness", +1),
    "completeness": ("the area under completeness", -1),
    "deviation": ("how far all latents without errors are from the model, prompt by prompt,", -1),
}


def circuits_sentence(
    circuits: pd.DataFrame, tasks: pd.DataFrame, errors: str, ablation: str
) -> str:
    """Which tasks the model can do, and whether one SAE for all layers does worse on them.

    Args:
        circuits: `tables/circuits.csv`.
        tasks: `tables/tasks.csv`.
        errors, ablation: the mode that is spoken of.
    """
    sentences = [_tasks(tasks)]
    rows = of_mode(circuits, errors, ablation)
    if len(rows):
        over = _overall(rows)
        sentences += _single(over, rows)
        sentences += _specialised(over)
    return " ".join(sentences)


def of_mode(
    circuits: pd.DataFrame, errors: str, ablation: str, control: str = "none"
) -> pd.DataFrame:
    """The rows of one mode of errors, one ablation and one control."""
    found = (circuits["errors"] == errors) & (circuits["ablation"] == ablation)
    return circuits[found & (circuits["control"] == control)]


def _overall(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of all tasks together, or of the only one; by arm."""
    task = ALL_TASKS if (rows["task"] == ALL_TASKS).any() else rows["task"].iloc[0]
    return rows[rows["task"] == task].set_index("arm")


def _tasks(tasks: pd.DataFrame) -> str:
    usable, others = tasks[tasks["usable"]], tasks[~tasks["usable"]]
    text = f"Circuits: the model can do {len(usable)} of {len(tasks)} tasks"
    text += f" ({_accuracies(usable)})" if len(usable) else ""
    if len(others):
        text += f"; no circuits were measured for {_accuracies(others)}"
    return text + "."


def _accuracies(tasks: pd.DataFrame) -> str:
    return ", ".join(
        f"{row.task} " + ("no pairs" if np.isnan(row.accuracy) else f"{100 * row.accuracy:.0f} %")
        for row in tasks.assign(accuracy=tasks["accuracy"].astype(float)).itertuples()
    )


def _single(over: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    if SINGLE not in over.index:
        return []
    row = over.loc[SINGLE]
    apart = {name: separates(row, name) for name in _MEASURES}
    n_tasks = rows.loc[rows["task"] != ALL_TASKS, "task"].nunique()
    where = f"over {n_tasks} tasks" if n_tasks > 1 else "on it"
    parts = [_contrast(over, SINGLE, name) for name in ("faithfulness", "deviation")]
    worse = [name for name, sign in apart.items() if sign < 0]
    better = [name for name, sign in apart.items() if sign > 0]
    text = f"One SAE for all layers against per-layer SAEs, {where}: {'; '.join(parts)}."
    if worse and not better:
        return [text, f"So {_listed(worse)} can tell sharing from per-layer SAEs here."]
    if better:
        return [
            text,
            f"By {_listed(better)} the single SAE looks better than per-layer SAEs, which its"
            " reconstruction does not bear out: do not choose SAEs by it on this model.",
        ]
    return [text, "None of these tells the two apart here, so circuits say nothing against sharing"
            " and nothing for it."]  # fmt: skip


def separates(row: pd.Series, measure: str) -> int:
    """−1 if an arm is worse than per-layer SAEs with an interval that excludes zero, +1 if it is
    better, 0 if that is open."""
    low, high = row[f"{measure}_vs_baseline_low"], row[f"{measure}_vs_baseline_high"]
    better = _MEASURES[measure][1]
    if np.isnan(low) or low <= 0 <= high:
        return 0
    return better if low > 0 else -better


def _listed(measures: Sequence[str]) -> str:
    return " and ".join(_MEASURES[name][0].rstrip(",") for name in measures)


def _contrast(over: pd.DataFrame, arm: str, measure: str) -> str:
    row, baseline = over.loc[arm], over.loc[PER_LAYER]
    low, high = row[f"{measure}_vs_baseline_low"], row[f"{measure}_vs_baseline_high"]
    name = {"faithfulness": "area under faithfulness", "deviation": "deviation of all latents"}
    interval = "" if np.isnan(low) else f", difference {_signed(low)} to {_signed(high)}"
    return f"{name[measure]} {row[measure]:.2f} against {baseline[measure]:.2f}{interval}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _specialised(over: pd.DataFrame) -> list[str]:
    rows = over[over["role"] == "specialised"]
    if rows.empty:
        return []
    # The cheapest, which is the one that the question of cost is about.
    arm = rows["matched_count"].idxmin()
    parts = [_contrast(over, arm, name) for name in ("faithfulness", "deviation")]
    spent = share(over.loc[arm, "matched_count"] / over.loc[PER_LAYER, "count"])
    return [f"Specialised SAEs ({spent} of the training) against per-layer: {'; '.join(parts)}."]
