"""What an arm loses against per-layer SAEs of the same total cost.

No plan holds that rival, as what an arm costs is known once it has been trained. Its FVU lies
between those of the per-layer arms that cost next less and next more: on every layer and for every
seed log FVU is interpolated linearly in log cost, along which training curves are nearly straight.
Costs are those of the seed, so that what they scatter by is in the interval (caching and tuning
are timed once for all seeds). Nothing is extrapolated, but for the hundredth by which costs that
are meant to be equal differ: an arm that costs less, or more, than all per-layer arms has no such
rival.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.experiment.variants import kind_of
from clustersae.quality.layers import array, seeds_of
from clustersae.statistics import intervals
from clustersae.statistics.equivalence import word
from clustersae.statistics.intervals import ABSENT, cells

#: By how much more, or less, than every per-layer arm an arm may cost, and per-layer arms must
#: differ.
BEYOND = 0.01


def equal_cost_columns(
    arm: Arm,
    arms: Sequence[Arm],
    quality: pd.DataFrame,
    totals: Mapping[str, pd.DataFrame],
    margins: Mapping[str, float],
) -> dict[str, Any]:
    """Excess FVU of an arm over per-layer SAEs of equal cost, on the test split.

    For `seconds` and `flops`: `budget_equal_*`, the training of these SAEs over that of the full
    ones, interpolated like their FVU; `excess_fvu_equal_*`, of the mean over layers, with its ends;
    `verdict_equal_*`, the word for it. Empty for per-layer SAEs themselves, but not for narrower
    ones, and where there is no rival.

    Args:
        arms: with the per-layer arms of every length among them.
        quality: `layer_quality` of the arms.
        totals: `cost.table.totals_by_seed` of the arms.
        margins: largest excess FVU that does not matter, of the `mean`.
    """
    lengths = [each for each in arms if _is_length(each)]
    test = quality[quality["split"] == "test"]
    row: dict[str, Any] = {}
    for unit, by_seed in totals.items():
        costs = by_seed.mean(axis=1)
        ordered = _apart(lengths, costs)
        ends = costs[[ordered[0].name, ordered[-1].name]] * np.array([1 - BEYOND, 1 + BEYOND])
        within = len(ordered) > 1 and ends.iloc[0] <= costs[arm.name] <= ends.iloc[1]
        if _is_length(arm) or not within:
            row |= {f"budget_equal_{unit}": np.nan, **cells(f"excess_fvu_equal_{unit}", ABSENT)}
            row |= {f"verdict_equal_{unit}": None}
            continue
        place = np.searchsorted([costs[each.name] for each in ordered[1:-1]], costs[arm.name])
        below, above = ordered[place : place + 2]
        seeds, fvu = _fvu(test, (arm, below, above))
        # How far between the two, in log cost, [n_seeds].
        low, own, high = np.log(
            by_seed.loc[[each.name for each in (below, arm, above)], seeds].values
        )
        share = (own - low) / (high - low)
        rival = np.exp((1 - share) * np.log(fvu[1]) + share * np.log(fvu[2]))
        found = intervals.excess(fvu[0], rival)
        budgets = np.log([each.matched_count / below.count for each in (below, above)])
        row |= {
            f"budget_equal_{unit}": float(np.exp(budgets @ (1 - share.mean(), share.mean()))),
            **cells(f"excess_fvu_equal_{unit}", found.interval()),
            f"verdict_equal_{unit}": word(found, margins["mean"]),
        }
    return row


def _is_length(arm: Arm) -> bool:
    """Whether an arm is of per-layer SAEs of full width."""
    return arm.partition == PER_LAYER and kind_of(arm.variant) != "narrower"


def _apart(lengths: Sequence[Arm], costs: pd.Series) -> list[Arm]:
    """By cost, without those that cost what the one before does: no line goes through the two."""
    found: list[Arm] = []
    for each in sorted(lengths, key=lambda each: costs[each.name]):
        if not found or costs[each.name] > (1 + BEYOND) * costs[found[-1].name]:
            found.append(each)
    return found


def _fvu(test: pd.DataFrame, arms: Sequence[Arm]) -> tuple[list[int], list[np.ndarray]]:
    """The seeds that all have; of every arm, [n_layers, n_seeds]."""
    rows = [test[test["arm"] == arm.name] for arm in arms]
    layers = sorted(set(rows[0]["layer"]))
    seeds = sorted(set.intersection(*(set(seeds_of(each)) for each in rows)))
    return seeds, [array(each, "fvu", layers, seeds) for each in rows]
