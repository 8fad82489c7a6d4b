"""Which arms text and figures show beside the full per-layer SAEs, from `tables/arms.csv`."""

import pandas as pd


def chosen(arms: pd.DataFrame) -> pd.Series:
    """The cheapest arm within the margins; the full per-layer SAEs where there is no other."""
    return arms[arms["chosen"]].iloc[0]


def shared(arms: pd.DataFrame) -> pd.Series | None:
    """The arm of the main method with fewer SAEs than layers that is shown; None without one.

    The chosen arm if it is one of them, else the cheapest within the margins, else the one of most
    training that is not above the chosen arm's, else the smallest.
    """
    rows = arms[(arms["role"] == "main") & (arms["count"] < arms["n_layers"])]
    found = _chosen_or_cheapest(rows)
    if found is not None or rows.empty:
        return found
    affordable = rows[rows["matched_count"] <= chosen(arms)["matched_count"]]
    if affordable.empty:
        return rows.loc[rows["matched_count"].idxmin()]
    return affordable.loc[affordable["matched_count"].idxmax()]


def specialised(arms: pd.DataFrame) -> pd.Series | None:
    """The specialised arm that is shown; None without one.

    The chosen arm if it is specialised, else the cheapest within the margins, else the one of
    least mean FVU on the validation split.
    """
    rows = arms[arms["role"] == "specialised"]
    found = _chosen_or_cheapest(rows)
    if found is not None or rows.empty:
        return found
    return rows.loc[rows["excess_fvu_validation"].idxmin()]


def _chosen_or_cheapest(rows: pd.DataFrame) -> pd.Series | None:
    for found in (rows[rows["chosen"]], rows[rows["within_margins"]]):
        if len(found):
            order = ["matched_count", "excess_fvu_validation"]
            return found.sort_values(order, kind="stable").iloc[0]
    return None
