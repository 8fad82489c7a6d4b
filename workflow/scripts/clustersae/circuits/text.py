"""What the circuits answer, in words: which tasks, and whether they tell arms apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clustersae.circuits.summary import MEASURES, by_outcome, measures_named, of_mode
from clustersae.circuits.table import overall
from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.tasks import ALL_TASKS
from clustersae.presentation.arms import best, full_label, spoken_of
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import WIDTH, bounds, fitted, listed, percent
from clustersae.runtime.words import counted
from clustersae.statistics.equivalence import Word

#: In the order in which they are told.
_OUTCOMES: tuple[Word, ...] = ("worse", "better", "equivalent", "undecided")


def line(found: Findings) -> str:
    """How many tasks the model can do, and the best arm beside full per-layer SAEs on them."""
    if "tasks" not in found.tables:
        return ""
    tasks = found.tables["tasks"]
    done = f"{_able(tasks).sum()} of {counted(len(tasks), 'task')}"
    rows, arms = _measured(found)
    if arms.empty:
        return f"Circuits: the model can do {done}"
    arm = arms.iloc[0]
    first = best(found.tables["arms"])["arm"] == arm["arm"]
    row = overall(rows).set_index("arm").loc[arm["arm"]]
    start = f"Circuits: {done}; {'arm 1' if first else full_label(arm)}"
    if not _is_compared(row):
        return fitted(start, ["has no numbers to compare"])
    # With numbers where there is room for them.
    lines = [fitted(start, [_outcomes(row, numbers)], width=1000) for numbers in (True, False)]
    return lines[0] if len(lines[0]) <= WIDTH else lines[1]


def _outcomes(row: pd.Series, numbers: bool) -> str:
    """What an arm is worse, better and equivalent by; if by none, the first undecided measure."""
    outcomes = by_outcome(row)

    def named(measure: str) -> str:
        return f"{measure} {_difference(row, measure)}" if numbers else measure

    told = [
        f"{word} by {listed([named(each) for each in outcomes[word]])}"
        for word in _OUTCOMES[:-1]
        if outcomes[word]
    ]
    undecided = outcomes["undecided"]
    if not told:
        told, undecided = [f"undecided by {named(undecided[0])}"], undecided[1:]
    return "; ".join([*told, *(["undecided by the rest"] if undecided else [])])


def paragraph(found: Findings) -> str:
    """Which tasks the model can do, and whether arms do worse on them than per-layer SAEs."""
    if "tasks" not in found.tables:
        return ""
    sentences = [_tasks(found.tables["tasks"])]
    rows, arms = _measured(found)
    for _, arm in arms.iterrows():
        sentences += _of_arm(rows, arm)
    if any("[" in sentence for sentence in sentences):
        seeds = " and seeds" if overall(rows)["n_seeds"].max() > 1 else ""
        sentences.append(f"95 % intervals, over prompts{seeds}, stand in square brackets.")
    return " ".join(sentences)


def _measured(found: Findings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the mode that is spoken of, and the arms to speak of."""
    rows = of_mode(found.tables["circuits"], found.options["errors"], found.options["ablation"])
    return rows, spoken_of(found.tables["arms"], set(rows["arm"]))


def _able(tasks: pd.DataFrame) -> pd.Series:
    """Done well enough are tasks on which the model was also tried with everything ablated."""
    return tasks["usable"] | tasks["logit_difference_ablated"].notna()


def _tasks(tasks: pd.DataFrame) -> str:
    """What the model can do; of the rest why no circuits were measured.

    A task was not tried for want of pairs if it has no accuracy.
    """
    tried, able = tasks["accuracy"].notna(), _able(tasks)
    text = f"The model can do {able.sum()} of {counted(len(tasks), 'task')}"
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


def _of_arm(rows: pd.DataFrame, arm: pd.Series) -> list[str]:
    """An arm beside per-layer SAEs, over all tasks and on each that tells them apart by itself."""
    over = overall(rows).set_index("arm")
    row, baseline = over.loc[arm["arm"]], over.loc[PER_LAYER]
    tasks = [task for task in rows["task"].unique() if task != ALL_TASKS]
    where = f"over {len(tasks)} tasks" if len(tasks) > 1 else f"on {tasks[0]}"
    start = f"{full_label(arm)} against per-layer SAEs, {where}"
    start = start[:1].upper() + start[1:]
    if np.isnan(row["distance"]) or np.isnan(baseline["distance"]):
        return [
            f"{start}: no numbers, as ablating everything moves the logit difference too little"
            " (columns full and empty of circuits.csv)."
        ]
    if not _is_compared(row):
        numbers = listed([_contrast(row, baseline, each) for each in MEASURES])
        return [
            f"{start}: {numbers}; no differences, as with {row['ablation']} ablation every SAE is"
            " measured by a gap of its own."
        ]
    outcomes = by_outcome(row)
    sentences = [f"{start}: {_told(row, baseline, _OUTCOMES)}.{_nodes(row, baseline)}"]
    if outcomes["better"] and arm["verdict"] != "better":
        fvu = f"{percent(arm['excess_fvu'], True)}"
        fvu += f" {bounds(arm['excess_fvu_low'], arm['excess_fvu_high'])}"
        sentences.append(
            f"That it looks better by {measures_named(outcomes['better'])} its reconstruction does"
            f" not bear out (mean FVU {fvu.rstrip()}): do not choose SAEs by that on this model."
        )
    return sentences + (_task_by_task(rows, arm["arm"], tasks) if len(tasks) > 1 else [])


def _task_by_task(rows: pd.DataFrame, arm: str, tasks: list[str]) -> list[str]:
    by_task = rows.set_index(["task", "arm"])
    told: Sequence[Word] = ("worse", "better")
    parts = [
        f"on {task} it is {text}"
        for task in tasks
        if (text := _told(by_task.loc[(task, arm)], by_task.loc[(task, PER_LAYER)], told))
    ]
    if not parts:
        return []
    n = len(tasks) * len(MEASURES)
    return [f"Task by task, {'; '.join(parts)} ({n} comparisons, not corrected for their number)."]


def _told(row: pd.Series, baseline: pd.Series, words: Sequence[Word]) -> str:
    """The measures of each outcome, with their numbers."""
    outcomes = by_outcome(row)
    return "; ".join(
        f"{word} by {listed([_contrast(row, baseline, each) for each in outcomes[word]])}"
        for word in words
        if outcomes[word]
    )


def _is_compared(row: pd.Series) -> bool:
    return not np.isnan(row["distance_vs_baseline"])


def _nodes(row: pd.Series, baseline: pd.Series) -> str:
    """How many nodes half of the behaviour takes, beside per-layer SAEs; "" where it is not met.

    A ratio over the seeds that reach half would leave out those that fall shortest.
    """
    if np.isnan(row["nodes_ratio"]):
        return ""
    shares = [each["nodes_reached"] for each in (row, baseline)]
    if min(shares) < 1:
        own, other = (round(share * row["n_seeds"]) for share in shares)
        return (
            f" Half of the behaviour is carried with {own} of {row['n_seeds']:.0f} seeds, by"
            f" per-layer SAEs with {other}."
        )
    low, high = (row[f"nodes_ratio{end}"] for end in ("_low", "_high"))
    ends = "" if np.isnan(low) else f" [{low:.2f} to {high:.2f}]"
    return (
        f" To carry half of the behaviour it takes {row['nodes_ratio']:.2f}{ends} times as many"
        " nodes."
    )


def _contrast(row: pd.Series, baseline: pd.Series, measure: str) -> str:
    """Both numbers, and their difference with its interval where there is one."""
    text = f"{MEASURES[measure][0]} ({row[measure]:.2f} against {baseline[measure]:.2f}"
    if not np.isnan(row[f"{measure}_vs_baseline"]):
        text += f", difference {_difference(row, measure)}"
    return text + ")"


def _difference(row: pd.Series, measure: str) -> str:
    value, low, high = (row[f"{measure}_vs_baseline{end}"] for end in ("", "_low", "_high"))
    none = np.isnan(low) or np.isnan(high)
    return _signed(value) + (", no interval" if none else f" [{_signed(low)} to {_signed(high)}]")


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
