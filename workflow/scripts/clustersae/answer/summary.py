"""The numbers of the summary figure, one row for every arm that it draws."""

import pandas as pd

from clustersae.circuits.summary import of_mode
from clustersae.circuits.table import overall
from clustersae.presentation.arms import full_label
from clustersae.presentation.specialised import budget

#: Roles of arms that are drawn; controls have figures of their own.
ROLES = ("baseline", "main", "specialised", "equal-compute")
_NAMES = ("arm", "partition", "variant", "method", "role", "count", "matched_count", "n_layers")
_QUALITY = ("excess_fvu", "excess_fvu_worst")
_ENDS = ("", "_low", "_high")


def summary_table(
    arms: pd.DataFrame,
    cost: pd.DataFrame,
    circuits: pd.DataFrame | None,
    errors: str,
    ablation: str,
) -> pd.DataFrame:
    """Quality, cost and circuits of every arm with at most the full training, side by side.

    Args:
        arms: `tables/arms.csv`.
        cost: `tables/cost.csv`.
        circuits: `tables/circuits.csv`, of a model that is asked for tasks.
        errors, ablation: the mode of circuits.

    Returns:
        Names of the arm; `label`; `budget`, training over that of full per-layer SAEs;
        `cost_relative` with `caching_share` and `training_share`, all over the cost of the full
        per-layer SAEs; excess FVU of the mean and of the worst layer; `distance` of faithfulness
        from 1 over all tasks, empty where there are no circuits. Quality, cost and circuits have
        the ends of 95 % intervals.
    """
    rows = arms[arms["role"].isin(ROLES) & (arms["matched_count"] <= arms["n_layers"])]
    measured = (*_QUALITY, "cost_relative")
    table = rows[[*_NAMES, "n_seeds", *(f"{name}{end}" for name in measured for end in _ENDS)]]
    table = table.assign(
        label=rows.apply(full_label, axis=1), budget=rows.apply(budget, axis=1)
    ).merge(_shares(cost), on="arm")
    return table.merge(_distance(circuits, errors, ablation), on="arm", how="left")


def _shares(cost: pd.DataFrame) -> pd.DataFrame:
    """Caching and training of every arm over the whole cost of the full per-layer SAEs."""
    whole = cost.loc[cost["role"] == "baseline", "total_seconds"].iloc[0]
    parts = {
        "caching_share": cost["caching_seconds"] / whole,
        "training_share": (cost["total_seconds"] - cost["caching_seconds"]) / whole,
    }
    return pd.DataFrame({"arm": cost["arm"], **parts})


def _distance(circuits: pd.DataFrame | None, errors: str, ablation: str) -> pd.DataFrame:
    columns = ["arm", *(f"distance{end}" for end in _ENDS)]
    rows = None if circuits is None else of_mode(circuits, errors, ablation)
    if rows is None or rows.empty:
        return pd.DataFrame(columns=columns)
    return overall(rows)[columns]
