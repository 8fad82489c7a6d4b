"""Arms as points beside one another: how each is drawn, and where at a place that several share."""

import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.judging import same_training
from clustersae.presentation.starts import looks_of
from clustersae.presentation.style import MARKERS, METHOD_COLOURS, Look, kind_of, name_of


def looks_of_arms(rows: pd.DataFrame, n_layers: int) -> dict[str, Look]:
    """Colour, marker and name of every arm in a table but the full per-layer SAEs."""
    starts = looks_of(rows.loc[rows["role"] == "specialised", "partition"])
    looks = {}
    for _, arm in rows[rows["arm"] != PER_LAYER].iterrows():
        kind = kind_of(arm)
        own = Look(METHOD_COLOURS[kind], MARKERS[kind], name_of(arm, n_layers))
        looks[arm["arm"]] = starts.get(arm["partition"], own)
    return looks


def places_of(rows: pd.DataFrame, n_layers: int) -> dict[str, float]:
    """Where every arm stands on an axis of training: where it belongs, or beside it.

    Of the arms that were trained alike the main method's keeps its place, since a line goes there.
    """
    ordered = rows.sort_values("matched_count", kind="stable")
    spent = ordered["matched_count"]
    alike = (~same_training(spent, spent.shift())).cumsum()
    places = {}
    for _, arms in ordered.groupby(alike):
        arms = arms.sort_values("role", key=lambda roles: roles != "main", kind="stable")
        for number, name in enumerate(arms["arm"]):
            # 0, then one step to the left, one to the right, two to the left, ...
            step = (number + 1) // 2 * (-1) ** number
            places[name] = arms["matched_count"].iloc[0] + 0.025 * n_layers * step
    return places
