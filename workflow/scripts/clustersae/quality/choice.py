"""The one criterion by which arms are chosen: the cheapest whose loss stays within the margins.

Losses are excess FVU over per-layer SAEs on the validation split: an arm picked on the numbers that
it is reported with looks better than it is. They are means of logarithms, as in all tables (see
`statistics.intervals`).
"""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.presentation.arms import SEPARATOR, select
from clustersae.presentation.judging import same_training
from clustersae.quality.pairs import Words
from clustersae.runtime.errors import InputError
from clustersae.statistics import intervals

Key = TypeVar("Key", bound=Hashable)


class Loss(NamedTuple):
    """What an arm loses against per-layer SAEs, and what it costs.

    Attributes:
        mean_excess: FVU over that of the per-layer SAEs, geometric mean over layers and seeds,
            minus 1.
        worst_excess: the same of the single layer where it is largest.
        cost: training, as the arm's `matched_count`.
    """

    mean_excess: float
    worst_excess: float
    cost: float

    def within(self, margins: Mapping[str, float]) -> bool:
        """Whether both excesses are at most `margins["mean"]` and `margins["worst"]`."""
        return self.mean_excess <= margins["mean"] and self.worst_excess <= margins["worst"]


def cheapest_within(candidates: Mapping[Key, Loss], margins: Mapping[str, float]) -> Key | None:
    """The key of the cheapest candidate within the margins; None if there is none.

    Of several that cost the same, the one of least mean excess.
    """
    enough = {key: loss for key, loss in candidates.items() if loss.within(margins)}
    least = min((loss.cost for loss in enough.values()), default=0.0)
    alike = [key for key, loss in enough.items() if same_training(loss.cost, least)]
    return min(alike, key=lambda key: enough[key].mean_excess, default=None)


def loss_of(reconstruction: pd.DataFrame, arm: Arm, against: Arm) -> Loss:
    """What `arm` loses against `against`, on the seeds that both have.

    Args:
        reconstruction: rows of one split, columns variant, cluster, seed, layer, split, fvu.

    Raises:
        InputError: there are rows of several splits, an SAE has no rows, or no seed is common.
    """
    splits = sorted(set(reconstruction["split"]))
    if len(splits) > 1:
        raise InputError(f"Choose arms on one split (validation), not on {' and '.join(splits)}.")
    own, alone = (_fvu(reconstruction, each) for each in (arm, against))
    seeds = own.columns.intersection(alone.columns)
    if seeds.empty:
        raise InputError(f"The SAEs of {arm.name} and {against.name} have no seed in common.")
    fvu = own[seeds].to_numpy(float), alone.loc[own.index, seeds].to_numpy(float)
    worst = intervals.worst(intervals.log_ratios(*fvu))
    mean, largest = intervals.excess(*fvu), intervals.excess_of_worst(*fvu, worst)
    return Loss(mean.interval().estimate, largest.interval().estimate, arm.matched_count)


def _fvu(reconstruction: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """[n_layers, n_seeds], of the seeds that every layer has."""
    rows = select(reconstruction, arm)
    if set(zip(rows["variant"], rows["cluster"])) != set(arm.saes):
        raise InputError(f"An SAE of {arm.name} has not been evaluated.")
    return rows.pivot(index="layer", columns="seed", values="fvu").dropna(axis=1)


def marked(
    arms: pd.DataFrame, margins: Mapping[str, float], words: Callable[[str, str], Words]
) -> pd.DataFrame:
    """`arms` with four columns after `matched_count`.

    `within_margins` is judged on the validation split, where the full per-layer SAEs lose nothing.
    `chosen` is one arm that is no control, the full per-layer SAEs if no other is within the
    margins. `dominated` is an arm that others, `dominated_by`, beat for no more training on the
    test split: by what both lose against the full per-layer SAEs it is worse than they in the mean
    or in the worst layer, and worse or equivalent in the other. What is undecided dominates nobody,
    and what is outside the margins nothing within (constrained domination: Deb et al. 2002,
    section VI).

    Args:
        arms: rows of `tables/arms.csv`, the full per-layer SAEs among them.
        margins: largest excess FVU, of the mean over layers (mean) and of one layer (worst).
        words: by their names, what one arm's losses beside those of another show.
    """
    losses = {
        row["arm"]: Loss(
            row["excess_fvu_validation"], row["excess_fvu_worst_validation"], row["matched_count"]
        )
        for _, row in arms.iterrows()
    }
    candidates = {name: losses[name] for name in arms.loc[arms["role"] != "control", "arm"]}
    found = cheapest_within(candidates, margins)
    within = {name: bool(loss.within(margins)) for name, loss in losses.items()}
    above = [_dominating(name, losses, within, words) for name in losses]
    marks = {
        "within_margins": list(within.values()),
        "dominated": [len(each) > 0 for each in above],
        "dominated_by": [SEPARATOR.join(each) for each in above],
        "chosen": [name == found for name in losses],
    }
    place = list(arms.columns).index("matched_count") + 1
    parts = [arms.iloc[:, :place], pd.DataFrame(marks, index=arms.index), arms.iloc[:, place:]]
    return pd.concat(parts, axis=1)


def _dominating(
    name: str,
    losses: Mapping[str, Loss],
    within: Mapping[str, bool],
    words: Callable[[str, str], Words],
) -> list[str]:
    """The arms that dominate one, in the order of the table."""
    cost = losses[name].cost
    found = []
    for other, loss in losses.items():
        if within[name] > within[other]:
            continue
        if loss.cost < cost or same_training(loss.cost, cost):
            said = set(words(name, other))
            if "worse" in said and said <= {"worse", "equivalent"}:
                found.append(other)
    return found
