"""The one criterion that arms are chosen by: the cheapest whose loss stays within the margins.

Arms are judged on the validation split and reported on the test split: one that is picked on the
numbers it is reported with looks better than it is.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from clustersae.presentation.judging import judged_excess, same_training

Key = TypeVar("Key")


class Loss(NamedTuple):
    """What an arm costs and loses against full per-layer training.

    Attributes:
        cost: training, in units of one full per-layer SAE.
        mean, worst: excess FVU of the mean over layers and of the worst layer.
    """

    cost: float
    mean: float
    worst: float

    def within(self, margins: Mapping[str, float]) -> bool:
        """Whether both losses are acceptable."""
        return bool(self.mean <= margins["mean"] and self.worst <= margins["worst"])


def cheapest_within(
    candidates: Iterable[tuple[Key, Loss]], margins: Mapping[str, float]
) -> Key | None:
    """The cheapest candidate within the margins, of several that with the least mean loss."""
    enough = [(key, loss) for key, loss in candidates if loss.within(margins)]
    least = min((loss.cost for _, loss in enough), default=0.0)
    alike = [(loss.mean, key) for key, loss in enough if same_training(loss.cost, least)]
    return min(alike, key=lambda each: each[0])[1] if alike else None


def judged(arms: pd.DataFrame, margins: Mapping[str, float]) -> pd.DataFrame:
    """`arms_table` with `within_margins`, `dominated` and `chosen`.

    Dominated is an arm if another costs no more training and loses no more in mean FVU on the test
    split, and is strictly better in one of them. Chosen is the cheapest arm within the margins that
    is no control; it may be the per-layer baseline, which is always within them.
    """
    losses = [
        Loss(arm["matched_count"], judged_excess(arm, "excess_fvu"), judged_excess(arm))
        for _, arm in arms.iterrows()
    ]
    open_to = [
        (place, loss)
        for place, (loss, role) in enumerate(zip(losses, arms["role"]))
        if role != "control"
    ]
    best = cheapest_within(open_to, margins)
    return arms.assign(
        within_margins=[loss.within(margins) for loss in losses],
        dominated=[_is_dominated(arm, arms) for _, arm in arms.iterrows()],
        chosen=np.arange(len(arms)) == best,
    )


def _is_dominated(arm: pd.Series, arms: pd.DataFrame) -> bool:
    alike = same_training(arms["matched_count"], arm["matched_count"])
    cheaper = (arms["matched_count"] < arm["matched_count"]) & ~alike
    better = arms["excess_fvu"] < arm["excess_fvu"]
    no_worse = arms["excess_fvu"] <= arm["excess_fvu"]
    return bool(((cheaper & no_worse) | (alike & better)).any())
