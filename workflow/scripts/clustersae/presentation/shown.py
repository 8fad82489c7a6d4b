"""Which arms figures and sentences are about, from arms.csv alone."""

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.clusters import parent

SPECIALISED = "specialised"


def chosen(arms: pd.DataFrame) -> pd.Series:
    """The cheapest arm within the margins; it may be the per-layer baseline."""
    return arms[arms["chosen"]].iloc[0]


def baseline(arms: pd.DataFrame) -> pd.Series:
    """The full per-layer SAEs."""
    return arms[arms["arm"] == PER_LAYER].iloc[0]


def shared(arms: pd.DataFrame) -> pd.Series | None:
    """The arm of the main method that stands for sharing; None without one.

    The chosen arm if it is one, else the cheapest within the margins, else the largest that costs
    no more than the chosen arm, else the smallest.
    """
    main = arms[(arms["role"] == "main") & (arms["count"] < arms["n_layers"])]
    main = main.sort_values("matched_count", kind="stable")
    if main.empty:
        return None
    if (main["chosen"] | main["within_margins"]).any():
        return main[main["chosen"] | main["within_margins"]].iloc[0]
    affordable = main[main["matched_count"] <= chosen(arms)["matched_count"] + 1e-9]
    return main.iloc[0] if affordable.empty else affordable.iloc[-1]


def specialised(arms: pd.DataFrame) -> pd.Series | None:
    """The specialised arm that stands for its kind; None without one.

    The chosen arm if it is one, else the cheapest within the margins, else that of the least loss.
    """
    rows = arms[arms["role"] == SPECIALISED].sort_values("matched_count", kind="stable")
    if rows.empty:
        return None
    if rows["chosen"].any():
        return rows[rows["chosen"]].iloc[0]
    within = rows[rows["within_margins"]]
    return rows.loc[rows["excess_fvu"].idxmin()] if within.empty else within.iloc[0]


def budget(arm: pd.Series) -> float:
    """Training of an arm over that of the full per-layer SAEs."""
    return float(arm["matched_count"] / arm["n_layers"])


def start_of(partition: str) -> str:
    """Where the SAEs of a specialised arm came from: "from 1 SAE"."""
    roots = parent(partition)
    if roots == SINGLE:
        return "from 1 SAE"
    count = roots.rpartition("-")[2]
    return f"from {count} SAEs"


def start_key(partition: str) -> float:
    """Orders starts by the number of shared SAEs."""
    roots = parent(partition)
    count = roots.rpartition("-")[2]
    return 1 if roots == SINGLE else float(count)
