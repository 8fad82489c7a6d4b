"""The numbers of the summary figure, one row for every arm that it draws."""

from collections.abc import Sequence

import pandas as pd

from clustersae.presentation.arms import full_label
from clustersae.presentation.specialised import budget

#: Roles of arms that are drawn; controls have figures of their own.
ROLES = ("baseline", "main", "specialised", "equal-compute")
_NAMES = ("arm", "partition", "variant", "method", "role", "count", "matched_count", "n_layers")
_QUALITY = ("excess_fvu", "excess_fvu_worst")
_ENDS = ("", "_low", "_high")


def summary_table(
    arms: pd.DataFrame, cost: pd.DataFrame, beside: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """Quality and cost of every arm with at most the full training, side by side.

    Args:
        arms: `tables/arms.csv`.
        cost: `tables/cost.csv`.
        beside: tables of other questions with one row per arm, as `tables/circuit_distance.csv`.

    Returns:
        Names of the arm; `label`; `budget`, training over that of full per-layer SAEs;
        `cost_relative` with `caching_share` and `training_share`, all over the cost of the full
        per-layer SAEs; excess FVU of the mean and of the worst layer, with the ends of 95 %
        intervals, as cost has them; and the columns of `beside`, empty for arms without a row.
    """
    rows = arms[arms["role"].isin(ROLES) & (arms["matched_count"] <= arms["n_layers"])]
    measured = (*_QUALITY, "cost_relative")
    table = rows[[*_NAMES, "n_seeds", *(f"{name}{end}" for name in measured for end in _ENDS)]]
    table = table.assign(
        label=rows.apply(full_label, axis=1), budget=rows.apply(budget, axis=1)
    ).merge(_shares(cost), on="arm")
    for other in beside:
        table = table.merge(other, on="arm", how="left")
    return table


def _shares(cost: pd.DataFrame) -> pd.DataFrame:
    """Caching and training of every arm over the whole cost of the full per-layer SAEs."""
    whole = cost.loc[cost["role"] == "baseline", "total_seconds"].iloc[0]
    parts = {
        "caching_share": cost["caching_seconds"] / whole,
        "training_share": (cost["total_seconds"] - cost["caching_seconds"]) / whole,
    }
    return pd.DataFrame({"arm": cost["arm"], **parts})
