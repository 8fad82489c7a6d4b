"""Means that tables hold with intervals: of one arm, and the difference of two, paired.

A bootstrap over three seeds alone has the smallest and the largest of three values for ends, and
misses the truth in 25 % of cases. So it is used only where units (layers, values of factors) are
resampled as well; seeds alone get Student's t.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from clustersae.statistics.intervals import (
    Bootstrap,
    Bootstrapping,
    Interval,
    percentile_interval,
    ratio_replicates,
)

#: Of Student's t, to each side of an interval.
TAIL = 0.025


class Ratio(NamedTuple):
    """What a mean is made of, both [n_units, n_seeds], units by their index.

    The mean is that of `sums` over that of `counts`, so that a seed with few latents counts for
    little and one without any for nothing. `within` is what the mean could be at all, and its
    interval ends there; differences are not cut.
    """

    sums: pd.DataFrame
    counts: pd.DataFrame
    within: tuple[float, float] = (-np.inf, np.inf)

    @classmethod
    def over_units(cls, values: pd.DataFrame) -> "Ratio":
        """The mean over units and seeds of `values` [n_units, n_seeds]; each counts alike."""
        return cls(values, values * 0 + 1)

    @classmethod
    def pooled(
        cls,
        rows: pd.DataFrame,
        column: str,
        weight: str | None,
        seeds: Sequence[int],
        most: float = np.inf,
    ) -> "Ratio":
        """The mean of all rows of a seed; each counts as often as its column `weight` says.

        Values lie between 0 and `most`.
        """
        rows = rows.dropna(subset=column)
        weights = rows[weight] if weight else rows["seed"] * 0 + 1
        both = [
            each.groupby(rows["seed"]).sum().reindex(seeds, fill_value=0).to_frame().T
            for each in (rows[column] * weights, weights)
        ]
        sums, counts = (each.astype(float).set_axis(["all"]) for each in both)
        return cls(sums, counts, (0.0, most))

    def interval(self, settings: Bootstrapping) -> Interval:
        """Over units and seeds by bootstrap; by Student's t where there is one unit.

        NaN without units, and for one unit with one seed.
        """
        estimate, *ends = _interval([self], settings)
        return Interval(estimate, *(float(np.clip(end, *self.within)) for end in ends))

    def minus(self, other: "Ratio", settings: Bootstrapping) -> Interval:
        """This mean less another, on the units that both have, paired by unit and seed."""
        return _interval(self._beside(other), settings)

    def p_value(self, other: "Ratio") -> float:
        """Of no difference from another mean of one unit: Student's t over seeds, two-sided."""
        estimate, error, n = _over_seeds(self._beside(other))
        if error == 0:
            return float(estimate == 0)
        return float(2 * special.stdtr(n - 1, -abs(estimate / error)))

    def _beside(self, other: "Ratio") -> list["Ratio"]:
        both = self.sums.index.intersection(other.sums.index, sort=False)
        return [Ratio(each.sums.loc[both], each.counts.loc[both]) for each in (self, other)]


def _interval(ratios: Sequence[Ratio], settings: Bootstrapping) -> Interval:
    """Of one mean, or of the first less the second."""
    shape = ratios[0].sums.shape
    if 0 in shape:
        return Interval(*[float("nan")] * 3)
    if shape[0] == 1:
        estimate, error, n = _over_seeds(ratios)
        half = float(special.stdtrit(n - 1, 1 - TAIL)) * error
        return Interval(estimate, estimate - half, estimate + half)
    bootstrap = _bootstrap(*shape, settings)
    own, *others = (
        ratio_replicates(ratio.sums.to_numpy(float), ratio.counts.to_numpy(float), bootstrap)
        for ratio in ratios
    )
    estimate = own[0] - sum(other[0] for other in others)
    replicates = own[1] - sum(other[1] for other in others)
    return percentile_interval(estimate, replicates, bootstrap)


def _over_seeds(ratios: Sequence[Ratio]) -> tuple[float, float, int]:
    """Mean (or first less second), standard error and number of seeds; each has one unit.

    With x_s the sums and c_s the counts of n seeds, the mean is R = Σ x_s / Σ c_s and

        error² = Σ r_s² / (n (n − 1)),        r_s = (x_s − R c_s) / (Σ c_s / n),

    the linearised ratio (Cochran 1977, section 6.3): where seeds count alike, r_s is a seed's value
    less the mean, and this the standard error of a mean. Of a difference, r_s are those of the
    first less those of the second. Seeds that one of them has nothing from drop out; with one seed
    left there is no error, with none no mean.
    """
    counts = np.stack([ratio.counts.to_numpy(float)[0] for ratio in ratios])
    sums = np.stack([ratio.sums.to_numpy(float)[0] for ratio in ratios])
    has = (counts > 0).all(0)
    counts, sums, n = counts[:, has], sums[:, has], int(has.sum())
    if n == 0:
        return np.nan, np.nan, n
    means = sums.sum(1) / counts.sum(1)
    residuals = (sums - means[:, None] * counts) / counts.mean(1, keepdims=True)
    signs = np.array([1.0, -1.0])[: len(ratios)]
    error = np.sqrt(((signs @ residuals) ** 2).sum() / (n * (n - 1))) if n > 1 else np.nan
    return float(signs @ means), float(error), n


@lru_cache(maxsize=16)
def _bootstrap(n_units: int, n_seeds: int, settings: Bootstrapping) -> Bootstrap:
    """Means of one shape share their resamples."""
    return Bootstrap(n_units, n_seeds, *settings)
