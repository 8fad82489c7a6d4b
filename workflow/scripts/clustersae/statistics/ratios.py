"""Means that tables hold with intervals: of one arm, and the difference of two, paired.

Units (layers, pairs of layers, values of a factor) are all that there are, so they are added up
within each seed, and seeds have Student's t.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from clustersae.statistics.intervals import Estimate, Interval, Part


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

    def interval(self) -> Interval:
        """NaN without units; no ends with one seed."""
        estimate, *ends = _over_seeds([self]).interval()
        return Interval(estimate, *(float(np.clip(end, *self.within)) for end in ends))

    def minus(self, other: "Ratio") -> Estimate:
        """This mean less another, on the units that both have, paired by unit and seed."""
        both = self.sums.index.intersection(other.sums.index, sort=False)
        pair = [Ratio(each.sums.loc[both], each.counts.loc[both]) for each in (self, other)]
        return _over_seeds(pair)


def _over_seeds(ratios: Sequence[Ratio]) -> Estimate:
    """Of one mean, or of the first less the second.

    With x_s the sums and c_s the counts of n seeds, the mean is R = Σ x_s / Σ c_s and

        variance = Σ r_s² / (n (n − 1)),        r_s = (x_s − R c_s) / (Σ c_s / n),

    the linearised ratio (Cochran 1977, section 6.3): where seeds count alike, r_s is a seed's value
    less the mean, and this the variance of a mean. Of a difference, r_s are those of the first
    less those of the second. Seeds that one of them has nothing from drop out; with one seed left
    there is no variance, with none no mean.
    """
    sums, counts = (
        np.stack([frame.to_numpy(float).sum(0) for frame in frames])
        for frames in zip(*((ratio.sums, ratio.counts) for ratio in ratios))
    )
    has = (counts > 0).all(0)
    counts, sums, n = counts[:, has], sums[:, has], int(has.sum())
    if n == 0:
        return Estimate(np.nan)
    means = sums.sum(1) / counts.sum(1)
    residuals = (sums - means[:, None] * counts) / counts.mean(1, keepdims=True)
    signs = np.array([1.0, -1.0])[: len(ratios)]
    variance = float(((signs @ residuals) ** 2).sum()) / (n * max(n - 1, 1))
    return Estimate(float(signs @ means), (Part(variance, n - 1),) if n > 1 else ())
