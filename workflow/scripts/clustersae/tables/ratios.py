"""Means that tables hold with intervals: of one arm, and the difference of two, paired."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import pandas as pd

from clustersae.evaluation.circuits.curves import percentile_interval, ratio_replicates
from clustersae.evaluation.intervals import Bootstrap, Interval
from clustersae.tables.summary import Bootstrapping


class Ratio(NamedTuple):
    """What a mean is made of, both [n_units, n_seeds], units (layers, or one) by their index.

    The mean is that of `sums` over that of `counts`, so that a seed with few latents counts for
    little and one without any for nothing.
    """

    sums: pd.DataFrame
    counts: pd.DataFrame

    @classmethod
    def over_layers(cls, values: pd.DataFrame) -> "Ratio":
        """The mean over layers and seeds of `values` [n_layers, n_seeds]; each counts alike."""
        return cls(values, values * 0 + 1)

    @classmethod
    def pooled(
        cls, rows: pd.DataFrame, column: str, weight: str | None, seeds: Sequence[int]
    ) -> "Ratio":
        """The mean of all rows of a seed; each counts as often as its column `weight` says."""
        rows = rows.dropna(subset=column)
        weights = rows[weight] if weight else rows["seed"] * 0 + 1
        both = [
            each.groupby(rows["seed"]).sum().reindex(seeds, fill_value=0).to_frame().T
            for each in (rows[column] * weights, weights)
        ]
        return cls(*(each.astype(float).set_axis(["all"]) for each in both))

    def interval(self, settings: Bootstrapping) -> Interval:
        """Over units and seeds; over seeds alone where there is one unit. NaN without units."""
        return _interval([self], settings)

    def minus(self, other: "Ratio", settings: Bootstrapping) -> Interval:
        """This mean less another, on the units that both have, paired by unit and seed."""
        both = self.sums.index.intersection(other.sums.index, sort=False)
        pair = [Ratio(each.sums.loc[both], each.counts.loc[both]) for each in (self, other)]
        return _interval(pair, settings)


def cells(name: str, interval: Interval) -> dict[str, float]:
    """An interval as columns of a table."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _interval(ratios: Sequence[Ratio], settings: Bootstrapping) -> Interval:
    """Of one mean, or of the first less the second."""
    shape = ratios[0].sums.shape
    if 0 in shape:
        return Interval(*[float("nan")] * 3)
    bootstrap = _bootstrap(*shape, settings)
    own, *others = (
        ratio_replicates(ratio.sums.to_numpy(float), ratio.counts.to_numpy(float), bootstrap)
        for ratio in ratios
    )
    estimate = own[0] - sum(other[0] for other in others)
    replicates = own[1] - sum(other[1] for other in others)
    return percentile_interval(estimate, replicates, bootstrap)


@lru_cache(maxsize=16)
def _bootstrap(n_units: int, n_seeds: int, settings: Bootstrapping) -> Bootstrap:
    """Means of one shape share their resamples."""
    return Bootstrap(n_units, n_seeds, *settings)
