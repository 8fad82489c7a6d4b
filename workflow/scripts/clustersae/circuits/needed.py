"""How many nodes a circuit needs to carry half of a behaviour: arms compared at equal faithfulness.

A curve reaches one half at the first size where it is that high; between two sizes it is taken to
be straight in log N. Where it never gets there, nothing stands in for that size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm, baseline
from clustersae.statistics.intervals import ABSENT, Interval, cells, over_seeds

#: The faithfulness at which arms are compared.
LEVEL = 0.5
_MODE = ["control", "errors", "ablation"]
_KEYS = ["task", "variant", "partition", *_MODE]
COLUMNS = [
    *("nodes_needed", "nodes_reached"),
    *(f"nodes_ratio{end}" for end in ("", "_low", "_high")),
]


def nodes_needed(sizes: Sequence[float], faithfulness: Sequence[float]) -> float:
    """The number of nodes at which a curve first reaches `LEVEL`; NaN if it never does.

    Args:
        sizes: ascending, from 1 on.
    """
    values = np.asarray(faithfulness, dtype=np.float64)
    reached = np.flatnonzero(values >= LEVEL)
    if not len(reached):
        return np.nan
    place = int(reached[0])
    if place == 0:
        return float(sizes[0])
    share = (LEVEL - values[place - 1]) / (values[place] - values[place - 1])
    low, high = np.log(sizes[place - 1 : place + 1])
    return float(np.exp(low + share * (high - low)))


def with_nodes_needed(
    circuits: pd.DataFrame, curves: pd.DataFrame, arms: Sequence[Arm], all_tasks: str
) -> pd.DataFrame:
    """`circuits_table` with `COLUMNS`.

    `nodes_needed` is the geometric mean over seeds, empty unless all seeds reach `LEVEL`;
    `nodes_reached` the share of seeds that do. `nodes_ratio` is the number of nodes over that of
    the full per-layer SAEs, paired by seed, with Student's t over seeds of its logarithm: below 1
    the arm's circuits are smaller. It is empty where other differences are. In the row of all
    tasks stand means of logarithms over tasks.

    Args:
        curves: in the format CURVES, of every arm.
        all_tasks: what the row of all tasks is called.
    """
    wide = _by_seed(curves, all_tasks)
    named = {(arm.variant, arm.partition) for arm in arms}
    base = baseline(arms)
    rows: list[dict[str, Any]] = []
    for _, row in circuits.iterrows():
        key = tuple(row[_KEYS])
        if np.isnan(row["distance"]) or key not in wide.index:  # no gap, or no size in common
            rows.append(dict.fromkeys(COLUMNS, np.nan))
            continue
        logs, asked = wide.loc[key].dropna(), int(row["n_seeds"])
        other = wide.loc[row["task"], base.variant, base.partition, *row[_MODE]]
        # The residual basis has no seeds that could be paired.
        is_compared = not np.isnan(row["distance_vs_baseline"]) and key[1:3] in named
        ratio = _excess(logs, other) if is_compared else ABSENT
        rows.append(
            {
                "nodes_needed": np.exp(logs.mean()) if len(logs) == asked else np.nan,
                "nodes_reached": len(logs) / asked,
                **{name: 1 + value for name, value in cells("nodes_ratio", ratio).items()},
            }
        )
    return circuits.assign(**pd.DataFrame(rows, columns=COLUMNS, index=circuits.index))


def _by_seed(curves: pd.DataFrame, all_tasks: str) -> pd.DataFrame:
    """Log of the nodes needed; rows `_KEYS`, columns seeds."""
    found = [
        {**dict(zip([*_KEYS, "seed"], key)), "needed": np.log(_of_curve(rows))}
        for key, rows in curves.groupby([*_KEYS, "seed"], sort=False)
    ]
    table = pd.DataFrame(found, columns=[*_KEYS, "seed", "needed"])
    if table["task"].nunique() > 1:
        others = table.drop(columns="task")
        keys = [*_KEYS[1:], "seed"]
        # A task on which half is not reached leaves the mean of all without a number.
        mean = others.groupby(keys, sort=False)["needed"].agg(lambda each: each.mean(skipna=False))
        table = pd.concat([table, mean.reset_index().assign(task=all_tasks)], ignore_index=True)
    return table.pivot(index=_KEYS, columns="seed", values="needed")


def _of_curve(rows: pd.DataFrame) -> float:
    ordered = rows.sort_values("size")
    return nodes_needed(ordered["size"].to_numpy(), ordered["faithfulness"].to_numpy())


def _excess(own: pd.Series, other: pd.Series) -> Interval:
    """Over the other's number of nodes, by the seeds that both have; absent without any."""
    logs = (own - other).dropna().to_numpy()
    return over_seeds(logs)._replace(is_log=True).interval() if len(logs) else ABSENT
