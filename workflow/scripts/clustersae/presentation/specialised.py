"""Specialised arms: where they start, what they spend, and their rivals."""

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.clusters import FROM, parent
from clustersae.presentation.judging import judged_excess, same_training
from clustersae.presentation.words import saes

SPECIALISED = "specialised"


def budget(arm: pd.Series) -> float:
    """Training of an arm over that of the full per-layer SAEs."""
    return float(arm["matched_count"] / arm["n_layers"])


def best_by_budget(arms: pd.DataFrame) -> pd.DataFrame:
    """Of the specialised arms of each budget the one whose worst layer came out best."""
    rows = arms[arms["role"] == SPECIALISED].sort_values("matched_count")
    if rows.empty:
        return rows
    spent = rows["matched_count"]
    budgets = (~same_training(spent, spent.shift())).cumsum()
    return rows.loc[rows.apply(judged_excess, axis=1).groupby(budgets).idxmin()]


def start_of(partition: str) -> str:
    """Where the SAEs of a specialised arm came from: "from 1 SAE", "from 3 SAEs"."""
    return f"from {saes(start_key(partition))}"


def start_key(partition: str) -> int:
    """The number of roots of a specialised arm, which orders starts."""
    roots = parent(partition)
    return 1 if roots == SINGLE else int(roots.rpartition("-")[2])


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
