"""Estimates over seeds, and the intervals of all tables.

The layers of a model are a census: all of them are in the data, and they differ with depth. The
trainings, one per seed, are the sample. So every quantity is first made one number per seed, from
all layers alike, and seeds then have Student's t. A percentile interval of three numbers has the
smallest and the largest of them for ends, and misses the truth in a quarter of cases; this one
misses it in a twentieth if seeds are normally distributed (`tests/unit/statistics/test_coverage`).

Relative quantities are means of logarithms, so that an arm's excess over another and the reverse
say the same, and no layer counts for more because its FVU is large.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from clustersae.runtime.errors import InputError

#: What an interval of a table covers, and what two one-sided tests at 5 % ask for.
CONFIDENCE, EQUIVALENCE_CONFIDENCE = 0.95, 0.9


class Interval(NamedTuple):
    """A point estimate and its interval; the ends are NaN where there is none."""

    estimate: float
    low: float
    high: float


#: Where nothing was measured.
ABSENT = Interval(np.nan, np.nan, np.nan)


def cells(name: str, interval: Interval) -> dict[str, float]:
    """An interval as columns of a table."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


class Part(NamedTuple):
    """One independent part of an estimate's variance, with its degrees of freedom."""

    variance: float
    freedom: float


class Estimate(NamedTuple):
    """A number that samples differ in, and how much.

    Attributes:
        value: the point estimate; of a ratio its logarithm.
        parts: of its variance; none where it is not known, as of one seed.
        searched: of how many layers this is the largest. Their errors help to make it the largest,
            so that it is too large on average, and its interval reaches further down.
        is_log: `value` is a logarithm; intervals are of exp(value) − 1.
    """

    value: float
    parts: tuple[Part, ...] = ()
    searched: int = 1
    is_log: bool = False

    @property
    def variance(self) -> float:
        """NaN where it is not known."""
        return sum(part.variance for part in self.parts) if self.parts else np.nan

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Two-sided, `(1 − confidence) / 2` to each side.

        Of several parts v_i with n_i degrees of freedom the quantile is Σ v_i t(n_i) / Σ v_i
        (Cochran 1964, Biometrics 20, 191). Of the largest of L layers the lower side gets 3/L of
        its probability: with L layers alike, the largest misses about as often as it should.
        """
        tail = (1 - confidence) / 2
        below = tail * min(1.0, 3 / self.searched)
        low, high = (self.value + sign * self._half(q) for sign, q in ((-1, below), (1, tail)))
        ends = (self.value, low, high)
        return Interval(*(float(np.expm1(end)) if self.is_log else float(end) for end in ends))

    def p_value(self) -> float:
        """Of zero, by Student's t, two-sided; NaN without a variance.

        Raises:
            InputError: the estimate is one of several layers, or its variance has several parts.
        """
        if not self.parts:
            return np.nan
        if len(self.parts) > 1 or self.searched > 1:
            raise InputError("A p-value is of one variance and of a layer that was not searched.")
        if self.variance == 0:
            return float(self.value == 0)
        return float(2 * special.stdtr(self.parts[0].freedom, -abs(self.value) / self._error))

    @property
    def _error(self) -> float:
        return float(np.sqrt(self.variance))

    def _half(self, tail: float) -> float:
        """NaN where the variance is not known."""
        if self.variance == 0:
            return 0.0
        weighted = sum(
            part.variance * float(special.stdtrit(part.freedom, 1 - tail)) for part in self.parts
        )
        return weighted / self.variance * self._error


def over_seeds(values: np.ndarray) -> Estimate:
    """The mean of `values` [n_seeds], with Student's t; without a variance for one seed.

    Raises:
        InputError: there are no values, or some are not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(
            f"An interval needs one finite value per seed, not an array of shape {values.shape}."
        )
    n = len(values)
    if n == 1:
        return Estimate(float(values[0]))
    # Equal values may have a mean that differs from them in its last bit.
    same = np.ptp(values) == 0
    mean = float(values[0] if same else values.mean())
    return Estimate(mean, (Part(0.0 if same else float(values.var(ddof=1)) / n, n - 1),))


def mean_of_layers(values: np.ndarray) -> Estimate:
    """The mean over all layers, averaged per seed; `values` is [n_layers, n_seeds]."""
    return over_seeds(np.asarray(values, dtype=np.float64).mean(0))


def log_ratios(values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """log(values / baseline), paired by layer and seed, [n_layers, n_seeds].

    Raises:
        InputError: the shapes differ, or a value is not above zero.
    """
    values, baseline = (np.asarray(each, dtype=np.float64) for each in (values, baseline))
    if values.shape != baseline.shape:
        raise InputError(
            f"Values of shape {values.shape} cannot be compared with some of {baseline.shape}."
        )
    if not ((values > 0).all() and (baseline > 0).all()):
        raise InputError("A relative excess needs values above zero on every layer and seed.")
    return np.log(values / baseline)


def excess(values: np.ndarray, baseline: np.ndarray) -> Estimate:
    """exp(mean over layers of log(values / baseline)) − 1, averaged per seed as a logarithm.

    0.04 is 4 %. Both are [n_layers, n_seeds] and paired.
    """
    return mean_of_layers(log_ratios(values, baseline))._replace(is_log=True)


def worst(values: np.ndarray) -> int:
    """The place of the layer that is largest on average over seeds, of [n_layers, n_seeds].

    Ask this of the validation split, and then tell the interval of the test split: a maximum is
    picked for its errors as well. Errors of training are the same on both splits, though, which
    is why intervals know how many layers were searched.
    """
    return int(np.asarray(values).mean(1).argmax())


def of_worst(values: np.ndarray, place: int) -> Estimate:
    """The layer `place` of [n_layers, n_seeds], which `worst` has picked among all of them."""
    return over_seeds(values[place])._replace(searched=len(values))


def excess_of_worst(values: np.ndarray, baseline: np.ndarray, place: int) -> Estimate:
    """The same of values / baseline − 1, both [n_layers, n_seeds]."""
    return of_worst(log_ratios(values, baseline), place)._replace(is_log=True)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values (1979), in the given order; what is NaN stays it and is not counted.

    With p-values in ascending order, the k-th of n becomes the largest of (n − j + 1) p_j for all
    j ≤ k, at most 1: at or below 0.05 they are told from zero, with one chance in twenty that any
    of them is told so wrongly.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted
