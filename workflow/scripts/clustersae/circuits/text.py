"""What the circuits answer, in words: which tasks, and whether they tell arms apart."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from clustersae.circuits.table import ALL_TASKS, overall
from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.presentation.names import arm_name
from clustersae.presentation.words import percent, share

#: What a difference from per-layer SAEs would mean, were it above zero.
_MEASURES = {
    "faithfulness": ("area under faithfulness", +1),
    "completeness": ("area under completeness", -1),
    "deviation": ("deviation of all latents without errors", -1),
}
_OUTCOMES = {-1: "worse by", 1: "better by", 0: "no difference shown by"}


def circuits_sentence(
    circuits: pd.DataFrame,
    tasks: pd.DataFrame,
    errors: str,
    ablation: str,
    excess: float | None = None,
    specialised: str | None = None,
) -> str:
    """Which tasks the model can do, and whether one SAE for all layers does worse on them.

    Args:
        circuits: `tables/circuits.csv`.
        tasks: `tables/tasks.csv`.
        errors, ablation: the mode that is spoken of.
        excess: mean FVU of the single SAE over that of per-layer SAEs, minus 1, where known; a
            measure by which the single SAE looks better is held against it.
        specialised: the specialised arm that is spoken of; None: the cheapest.
    """
    sentences = [_tasks(tasks)]
    rows = of_mode(circuits, errors, ablation)
    if len(rows):
        over = overall(rows).set_index("arm")
        sentences += _single(over, rows, excess)
        sentences += _specialised(over, specialised)
        if any("[" in sentence for sentence in sentences):
            seeds = " and seeds" if over["n_seeds"].max() > 1 else ""
            sentences.append(f"95 % intervals, over prompts{seeds}, stand in square brackets.")
    return " ".join(sentences)


def line(
    circuits: pd.DataFrame, tasks: pd.DataFrame, errors: str, ablation: str, arms: Sequence[str]
) -> str:
    """How faithful circuits are in a few arms, beside per-layer SAEs, in a line.

    Args:
        arms: names of those that are spoken of.
    """
    able = tasks["usable"].sum()
    start = f"Circuits ({able} of {len(tasks)} tasks"
    rows = of_mode(circuits, errors, ablation)
    if rows.empty:
        return f"{start} done): none to measure."
    over = overall(rows).set_index("arm")
    base = over.loc[PER_LAYER, "faithfulness"]
    if np.isnan(base):
        return f"{start}): ablating everything moves the logit difference too little to measure."
    parts = []
    for name in arms:
        if name not in over.index or name == PER_LAYER or np.isnan(over.loc[name, "faithfulness"]):
            continue
        row, measure = over.loc[name], "faithfulness_vs_baseline"
        ends = [_signed(row[f"{measure}_{end}"], 2) for end in ("low", "high")]
        none = np.isnan(row[f"{measure}_low"])
        parts.append(
            f"{_short(row, over)} {row['faithfulness']:.2f}"
            + ("" if none else f" [difference {ends[0]} to {ends[1]}]")
        )
    return f"{start}): area under faithfulness per-layer {base:.2f}, {', '.join(parts)}."


def _short(row: pd.Series, over: pd.DataFrame) -> str:
    return arm_name(row.to_dict() | {"n_layers": over.loc[PER_LAYER, "count"]})


def of_mode(
    circuits: pd.DataFrame, errors: str, ablation: str, control: str = "none"
) -> pd.DataFrame:
    """The rows of one mode of errors, one ablation and one control."""
    found = (circuits["errors"] == errors) & (circuits["ablation"] == ablation)
    return circuits[found & (circuits["control"] == control)]


def separates(row: pd.Series, measure: str) -> int:
    """−1 if an arm is worse than per-layer SAEs with an interval that excludes zero, +1 if it is
    better, 0 if that is open."""
    low, high = row[f"{measure}_vs_baseline_low"], row[f"{measure}_vs_baseline_high"]
    better = _MEASURES[measure][1]
    if np.isnan(low) or low <= 0 <= high:
        return 0
    return better if low > 0 else -better


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _tasks(tasks: pd.DataFrame) -> str:
    """What the model can do; of the rest why no circuits were measured.

    A task was not tried for want of pairs if it has no accuracy, and was done well enough if the
    model was also tried with everything ablated.
    """
    tried = tasks["accuracy"].notna()
    able = tasks["usable"] | tasks["logit_difference_ablated"].notna()
    text = f"Circuits: the model can do {able.sum()} of {len(tasks)} tasks"
    text += f" ({_accuracies(tasks[able])})" if able.any() else ""
    unable = tasks[tried & ~able]
    text += f"; it cannot do {_accuracies(unable)}" if len(unable) else ""
    few = [
        f"{row.task} ({row.n_usable:.0f} of {row.n_tried:.0f} usable;"
        f" {row.n_train:.0f} for training, {row.n_test:.0f} for test)"
        for row in tasks[~tried & (tasks["n_tried"] > 0)].itertuples()
    ]
    text += f"; too few pairs to try {listed(few)}" if few else ""
    unwritten = tasks.loc[~tried & (tasks["n_tried"] == 0), "task"]
    if len(unwritten):
        text += f"; what its tokenizer knows makes no prompts for {listed(list(unwritten))}"
    loose = [
        f"{row.task} (logit difference {_signed(row.logit_difference, 2)},"
        f" {_signed(row.logit_difference_ablated, 2)} with everything ablated)"
        for row in tasks[able & ~tasks["usable"]].itertuples()
    ]
    if loose:
        text += f"; {listed(loose)} does not rest on the stream, so circuits say nothing of it"
    return text + "."


def _accuracies(tasks: pd.DataFrame) -> str:
    return ", ".join(f"{row.task} {100 * row.accuracy:.0f} %" for row in tasks.itertuples())


def _single(over: pd.DataFrame, rows: pd.DataFrame, excess: float | None) -> list[str]:
    if SINGLE not in over.index:
        return []
    names = rows.loc[rows["task"] != ALL_TASKS, "task"].unique()
    where = f"over {len(names)} tasks" if len(names) > 1 else f"on {names[0]}"
    start = f"One SAE for all layers against per-layer SAEs, {where}"
    text = _against(over, SINGLE, start)
    if not _is_compared(over.loc[SINGLE]):
        return [text]
    alone = _single_tasks(rows) if len(names) > 1 else []
    return [text, *_meaning(_outcomes(over.loc[SINGLE]), excess, bool(alone)), *alone]


def _single_tasks(rows: pd.DataFrame) -> list[str]:
    """Which tasks tell the single SAE from per-layer ones when taken by themselves."""
    by_task = rows[rows["task"] != ALL_TASKS].set_index(["task", "arm"])
    parts, tasks = [], by_task.index.unique("task")
    for task in tasks:
        row, baseline = by_task.loc[(task, SINGLE)], by_task.loc[(task, PER_LAYER)]
        told = [
            f"{_OUTCOMES[sign]} {listed([_contrast(row, baseline, name) for name in names])}"
            for sign, names in _outcomes(row).items()
            if sign and names
        ]
        parts += [f"on {task} it is {' and '.join(told)}"] if told else []
    if not parts:
        return []
    n = len(tasks) * len(_MEASURES)
    return [f"Task by task, {'; '.join(parts)} ({n} comparisons, not corrected for their number)."]


def _meaning(found: dict[int, list[str]], excess: float | None, on_some_task: bool) -> list[str]:
    """Whether the measures tell sharing from per-layer SAEs, and which of them do.

    Args:
        on_some_task: some do on one of several tasks, which is said afterwards.
    """
    worse, better, neither = (_names(found[sign]) for sign in (-1, 1, 0))
    if not worse and not better and on_some_task:
        return ["In the mean over tasks none of these is shown to tell the two apart."]
    if not worse and not better:
        return ["None of these is shown to tell the two apart on this model, so circuits say"
                " nothing against sharing and nothing for it."]  # fmt: skip
    told = " and ".join(filter(None, (worse, better)))
    text = f"So circuits tell the two apart on this model by {told}"
    text += ", though these disagree on which is better" if worse and better else ""
    text += f", and not by {neither}" if neither else ""
    if not better or excess is None or np.isnan(excess):
        return [f"{text}."]
    fvu = f"(mean FVU {percent(excess, True)})"
    if excess > 0:
        return [
            f"{text}.",
            f"That the single SAE looks better by {better} its reconstruction does not bear out"
            f" {fvu}: do not choose SAEs by that on this model.",
        ]
    return [f"{text}.", f"The reconstruction of the single SAE is no worse, either {fvu}."]


def _specialised(over: pd.DataFrame, arm: str | None) -> list[str]:
    rows = over[over["role"] == "specialised"]
    if rows.empty:
        return []
    if arm is None:  # the question of cost is about the cheapest
        arm = rows["matched_count"].idxmin()
    spent = share(over.loc[arm, "matched_count"] / over.loc[PER_LAYER, "count"])
    return [_against(over, arm, f"Specialised SAEs ({spent} of the training) against per-layer")]


def _against(over: pd.DataFrame, arm: str, start: str) -> str:
    """Every measure of an arm beside per-layer SAEs, those that it is worse by first."""
    row, baseline = over.loc[arm], over.loc[PER_LAYER]
    if np.isnan(row["faithfulness"]) or np.isnan(baseline["faithfulness"]):
        return (
            f"{start}: no numbers, as ablating everything moves the logit difference too little"
            " (columns full and empty of circuits.csv)."
        )
    parts = [
        f"{_OUTCOMES[sign]} {listed([_contrast(row, baseline, name) for name in names])}"
        for sign, names in _outcomes(row).items()
        if names
    ]
    if not _is_compared(row):
        numbers = listed([_contrast(row, baseline, name) for name in _MEASURES])
        return (
            f"{start}: {numbers}; no differences, as with {row['ablation']} ablation every SAE is"
            " measured by a gap of its own."
        )
    return f"{start}: {'; '.join(parts)}."


def _is_compared(row: pd.Series) -> bool:
    return not np.isnan(row["faithfulness_vs_baseline"])


def _outcomes(row: pd.Series) -> dict[int, list[str]]:
    """The measures by which an arm is worse (−1) and better (1) than per-layer SAEs, and others."""
    return {
        sign: [name for name in _MEASURES if separates(row, name) == sign] for sign in _OUTCOMES
    }


def _names(measures: Iterable[str]) -> str:
    names = [_MEASURES[name][0] for name in measures]
    return listed(names) if names else ""


def _contrast(row: pd.Series, baseline: pd.Series, measure: str) -> str:
    """Both numbers, and their difference with its interval where there is one."""
    text = f"{_MEASURES[measure][0]} ({row[measure]:.2f} against {baseline[measure]:.2f}"
    difference, low, high = (row[f"{measure}_vs_baseline{end}"] for end in ("", "_low", "_high"))
    if not np.isnan(difference):
        text += f", difference {_signed(difference)}"
        none = np.isnan(low) or np.isnan(high)
        text += ", no interval" if none else f" [{_signed(low)} to {_signed(high)}]"
    return text + ")"


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
