"""How much of each task the circuits of each arm carry, with intervals over prompts and seeds.

The five measures, all in units of the gap m(M) − m(∅) that the task makes:

    faithfulness   area under the curve of m(C) over log N; overshooting m(M) adds to it
    distance       mean distance of that curve from m(M) over log N: 0 is good, and overshooting is
                   as bad as falling short; what arms are judged by
    completeness   the same for what is left without the circuit; low is good
    all_latents    m with every latent and without errors: 1 if the SAEs carry the behaviour
    deviation      mean distance of that from m(M), prompt by prompt: 0 is good, and a prompt that
                   overshoots does not make up for one that falls short

The first three depend on what a search finds, the last two on the SAEs alone. All divide by the
gap, and so are left out (NaN) where it is small: |mean m(M) − mean m(∅)| < min_gap. With `mean` and
`resample` ablation m(∅) is the same for all SAEs; with `zero` every SAE has its own, in whose
units no two arms can be compared, and differences are left out.

Prompts and seeds are both samples (`statistics.crossed`), and prompts come in groups: a pair and
its mirror image say nearly the same, as do pairs of one prompt, and are one. The prompts that
circuits are found with are the same for all seeds, and no part of the intervals: with others, all
would have to be found again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from clustersae.circuits.summary import MEASURES as DIRECTIONS
from clustersae.circuits.table_nodes import found_nodes
from clustersae.experiment.arms import PER_LAYER, Arm, baseline
from clustersae.experiment.tasks import ALL_TASKS
from clustersae.experiment.variants import BASE
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.tables import Format
from clustersae.runtime.errors import InputError
from clustersae.statistics.crossed import Crossed, estimate
from clustersae.statistics.equivalence import word
from clustersae.statistics.intervals import Estimate, cells

_ARM = ("task", "variant", "partition", "seed")
_MODE = ("control", "errors", "ablation")
_METRICS = ("full", "empty", "circuit", "complement", "distance", "latents")
PROMPTS = Format((*_ARM, *_MODE, "prompt"), ("group", *_METRICS))
CURVES = Format((*_ARM, *_MODE, "size"), ("faithfulness", "completeness"))
NODES = Format((*_ARM, "rank"), ("layer", "latent", "effect", "exact"))

#: Columns of the table; each has _low and _high, and so has its difference from the baseline.
MEASURES = ("faithfulness", "distance", "completeness", "all_latents", "deviation")
#: Columns beside these and the names of a row.
_ROW = ("n_prompts", "n_groups", "n_seeds", "full", "empty")

#: With this ablation m(∅), and so the gap, is the SAE's own.
_OWN_GAP = "zero"
#: The control without SAEs: its partition, and its name as an arm.
RESIDUAL_BASIS = "residual-basis"


def tasks_table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per task: its pairs, how well the model does it, and why it was left out if it was.

    Args:
        records: the content of every `tasks/{task}/task.json`.
    """
    rows = [
        {key: value for key, value in record.items() if key != "lost"}
        | {"lost": " ".join(f"{loss}:{count}" for loss, count in record["lost"].items())}
        for record in records
    ]
    return pd.DataFrame(rows)


def circuits_table(
    arms: Sequence[Arm], prompts: pd.DataFrame, nodes: pd.DataFrame, min_gap: float, margin: float
) -> pd.DataFrame:
    """One row per task (and the mean of all), arm, control, mode of errors and ablation.

    `full` and `empty` are m(M) and m(∅), means over prompts and seeds. Differences
    (`*_vs_baseline`) are from the full per-layer SAEs, paired by prompt and seed, and `*_verdict`
    says in a word what they show (see `statistics.equivalence`). The mean of all tasks has no
    measures where one of the tasks has none.

    Args:
        arms: those of the experiment.
        prompts: rows in the format PROMPTS; `nodes`, in the format NODES.
        min_gap: smallest size of full − empty that anything is measured by.
        margin: largest difference of `distance` that does not matter. Other measures have no
            margin: they are worse, better or undecided.
    """
    n_layers = baseline(arms).count
    control = Arm(RESIDUAL_BASIS, BASE, RESIDUAL_BASIS, n_layers, n_layers, "control", ())
    arms = [*arms, control]
    tasks = list(dict.fromkeys(prompts["task"]))
    rows: list[dict[str, Any]] = []
    for values, group in prompts.groupby(list(_MODE), sort=False):
        rows += _mode_rows(arms, tasks, group, dict(zip(_MODE, values)), min_gap, margin)
    table = pd.DataFrame(rows, columns=_columns())
    # Random circuits are not found by any effect.
    found = found_nodes(nodes, n_layers).assign(control="none")
    return table.merge(found, how="left", on=["task", "variant", "partition", "control"])


def overall(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of either table about all tasks together, or about the only one."""
    tasks = set(rows["task"])
    return rows[rows["task"] == (ALL_TASKS if ALL_TASKS in tasks else rows["task"].iloc[0])]


def distances(rows: pd.DataFrame) -> pd.DataFrame:
    """`distance` of faithfulness from 1 of every arm over all tasks, with the ends of its interval.

    Args:
        rows: of `circuits_table`, of one mode; none where the model does no task.
    """
    columns = ["arm", *(f"distance{end}" for end in ("", "_low", "_high"))]
    return overall(rows)[columns] if len(rows) else pd.DataFrame(columns=columns)


def _columns() -> list[str]:
    """Of the table, but for what `found_nodes` adds; the same without a row."""
    names = ("arm", "partition", "variant", "method", "role", "count", "matched_count")
    ends = ("", "_low", "_high", "_vs_baseline", "_vs_baseline_low", "_vs_baseline_high")
    measures = [
        name + end for name in MEASURES for end in (*ends, *["_verdict"] * (name in DIRECTIONS))
    ]
    return ["task", *_MODE, *names, *_ROW, *measures]


def _mode_rows(
    arms: Sequence[Arm],
    tasks: Sequence[str],
    prompts: pd.DataFrame,
    mode: Mapping[str, str],
    min_gap: float,
    margin: float,
) -> Iterator[dict[str, Any]]:
    by_task = {task: _of_task(arms, prompts[prompts["task"] == task], min_gap) for task in tasks}
    if len(tasks) > 1:
        by_task[ALL_TASKS] = _of_all(list(by_task.values()))
    for task, measured in by_task.items():
        against = measured[PER_LAYER]
        for arm in arms:
            own = measured[arm.name]
            yield {
                **{"task": task, **mode, **arm_columns(arm), **own.row},
                **_measures(own, against, arm, mode["ablation"] != _OWN_GAP, margin),
            }


class _ArmMeasured(NamedTuple):
    """All measures of one arm: a ratio per task of each, and the columns `_ROW`."""

    values: Mapping[str, tuple[Crossed, ...]]
    row: dict[str, float]


def _measures(
    own: _ArmMeasured, against: _ArmMeasured, arm: Arm, is_compared: bool, margin: float
) -> dict[str, Any]:
    """Columns of one arm's measures, and of their differences from the baseline."""
    row: dict[str, Any] = {}
    for name in MEASURES:
        found = estimate(own.values[name], has_seeds=arm.partition != RESIDUAL_BASIS)
        row |= cells(name, found.interval())
        if arm.name == PER_LAYER or not is_compared:
            continue
        pairs = zip(own.values[name], against.values[name], strict=True)
        difference = estimate([one.minus(other) for one, other in pairs])
        row |= cells(f"{name}_vs_baseline", difference.interval())
        if name in DIRECTIONS:
            row[f"{name}_verdict"] = _word(difference, name, margin)
    return row


def _word(difference: Estimate, name: str, margin: float) -> str | None:
    """What a difference shows; None where there is none."""
    if np.isnan(difference.value):
        return None
    more_is: Literal["worse", "better"] = "better" if DIRECTIONS[name][1] > 0 else "worse"
    return word(difference, margin if name == "distance" else 0.0, more_is)


def _of_task(arms: Sequence[Arm], prompts: pd.DataFrame, min_gap: float) -> dict[str, _ArmMeasured]:
    """Arm → its measures on one task."""
    measured = _by_prompt_and_seed(arms, prompts)
    groups = _groups(prompts)
    result = {}
    for arm, wide in zip(arms, measured):
        gap = wide["full"] - wide["empty"]
        if abs(gap.mean()) < min_gap:
            gap = np.full_like(gap, np.nan)  # and so is what it divides
        rises = {
            "faithfulness": wide["circuit"] - wide["empty"],
            "distance": wide["distance"],
            "completeness": wide["complement"] - wide["empty"],
            "all_latents": wide["latents"] - wide["empty"],
            "deviation": np.abs(wide["latents"] - wide["full"]) * np.sign(gap.mean()),
        }
        # Ratios of means are ratios of sums, those of groups included.
        gap = _sums(gap, groups)
        values = {name: (Crossed.ratio(_sums(rise, groups), gap),) for name, rise in rises.items()}
        ends = (float(wide[name].mean()) for name in ("full", "empty"))
        row = dict(zip(_ROW, (len(groups), *gap.shape, *ends)))
        result[arm.name] = _ArmMeasured(values, row)
    return result


def _groups(prompts: pd.DataFrame) -> np.ndarray:
    """The number of the group, from 0 on, of every prompt of one task."""
    of_prompt = prompts.drop_duplicates("prompt").sort_values("prompt")["group"]
    return pd.factorize(of_prompt)[0]


def _sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """[n_prompts, n_seeds] → [n_groups, n_seeds]."""
    result = np.zeros((groups.max() + 1, values.shape[1]))
    np.add.at(result, groups, values)
    return result


def _by_prompt_and_seed(arms: Sequence[Arm], prompts: pd.DataFrame) -> list[dict[str, np.ndarray]]:
    """The columns of each arm on one task, [n_prompts, n_seeds]."""
    task = prompts["task"].iloc[0]
    grouped = dict(iter(prompts.groupby(["variant", "partition"])))
    model = None  # m(M), which no SAE changes
    measured = []
    for arm in arms:
        rows = grouped.get((arm.variant, arm.partition))
        if rows is None:
            raise InputError(f"No circuits were measured in {arm.name} for {task}.")
        wide = _wide(rows)
        model = wide["full"][:, :1] if model is None else model
        if len(model) != len(wide["full"]) or not np.allclose(wide["full"], model, atol=1e-3):
            raise InputError(
                f"Circuits in {arm.name} were measured on other prompts of {task} than those in"
                f" {arms[0].name}: delete their files below evaluation/circuits and run again."
            )
        measured.append(wide)
    return measured


def _wide(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Metric → [n_prompts, n_seeds], both in ascending order; NaN where there is no row."""
    places, ends = zip(*(pd.factorize(rows[name], sort=True) for name in ("prompt", "seed")))
    found = np.full((len(_METRICS), *map(len, ends)), np.nan)
    found[:, places[0], places[1]] = rows[list(_METRICS)].to_numpy().T
    return dict(zip(_METRICS, found))


def _of_all(by_task: Sequence[Mapping[str, _ArmMeasured]]) -> dict[str, _ArmMeasured]:
    """Arm → its measures on all tasks, each of which has prompts of its own."""
    result = {}
    for name in by_task[0]:
        values = {
            measure: tuple(ratio for task in by_task for ratio in task[name].values[measure])
            for measure in MEASURES
        }
        rows = pd.DataFrame([task[name].row for task in by_task])
        row = rows[["n_prompts", "n_groups"]].sum().to_dict()
        row |= {"n_seeds": rows["n_seeds"].max()} | rows[["full", "empty"]].mean().to_dict()
        result[name] = _ArmMeasured(values, row)
    return result


def curves_table(arms: Sequence[Arm], curves: pd.DataFrame, circuits: pd.DataFrame) -> pd.DataFrame:
    """Faithfulness and completeness at every size, means over seeds, with the number of seeds.

    Of several tasks also their mean, at the sizes that all of them have.

    Args:
        circuits: what `circuits_table` made; where it leaves the areas out, curves are NaN.
    """
    names = {(arm.variant, arm.partition): arm.name for arm in arms}
    names[BASE, RESIDUAL_BASIS] = RESIDUAL_BASIS
    keys = ["variant", "partition", *_MODE, "size"]
    table = curves.groupby(["task", *keys], sort=False).agg(
        faithfulness=("faithfulness", "mean"),
        completeness=("completeness", "mean"),
        n_seeds=("seed", "nunique"),
    )
    table = table.reset_index()
    n_tasks = table["task"].nunique()
    if n_tasks > 1:
        grouped = table.groupby(keys, sort=False)
        means = grouped[["faithfulness", "completeness"]].mean()
        means["n_seeds"] = grouped["n_seeds"].min()
        means = means[grouped.size() == n_tasks].reset_index()
        table = pd.concat([table, means.assign(task=ALL_TASKS)], ignore_index=True)
    pairs = zip(table["variant"], table["partition"])
    table.insert(1, "arm", pd.Series([names[pair] for pair in pairs], dtype=str))
    row = ["task", "arm", *_MODE]
    measured = circuits.loc[circuits["faithfulness"].notna(), row]
    there = pd.MultiIndex.from_frame(table[row]).isin(pd.MultiIndex.from_frame(measured))
    table.loc[~there, ["faithfulness", "completeness"]] = np.nan
    return table
