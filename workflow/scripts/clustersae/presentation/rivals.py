"""Which arms are compared with specialised ones: of each budget the best, and per-layer SAEs."""

import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.clusters import FROM
from clustersae.presentation.judging import judged_excess, same_training
from clustersae.presentation.shown import SPECIALISED


def best_by_budget(arms: pd.DataFrame) -> pd.DataFrame:
    """Of the specialised arms of each budget the one whose worst layer came out best."""
    rows = arms[arms["role"] == SPECIALISED].sort_values("matched_count")
    if rows.empty:
        return rows
    spent = rows["matched_count"]
    budgets = (~same_training(spent, spent.shift())).cumsum()
    return rows.loc[rows.apply(judged_excess, axis=1).groupby(budgets).idxmin()]


def against_lengths(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Specialised arms against per-layer SAEs of any length, the full ones included.

    Columns of `comparisons`, and `length` (training of the rival over that of full per-layer
    SAEs), `ratio` (training of the arm over that of the rival).
    """
    per_layer = (comparisons["against"] == PER_LAYER) | comparisons["against"].str.startswith(
        f"{PER_LAYER} (tokens-"
    )
    rows = comparisons[comparisons["arm"].str.startswith(f"{PER_LAYER}{FROM}") & per_layer]
    return rows.assign(
        length=rows["against_matched_count"] / rows["n_layers"],
        ratio=rows["matched_count"] / rows["against_matched_count"],
    )


def at_equal_training(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The rows of `against_lengths` in which both arms were trained alike long."""
    rows = against_lengths(comparisons)
    return rows[same_training(rows["matched_count"], rows["against_matched_count"])]
