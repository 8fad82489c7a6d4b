"""Bootstrap intervals for a quantity measured on every layer with every seed.

Values form an array `[n_layers, n_seeds]`. Layers and seeds are resampled separately, with
replacement, and every layer meets every seed: the "pigeonhole" bootstrap for crossed factors
(McCullagh 2000; Owen 2007, doi:10.1214/07-AOAS122), which is mildly conservative for the mean.
All arms of an experiment share the resamples, so that a comparison of two arms is paired: what
makes a layer hard or a seed lucky cancels.

With few seeds a percentile interval is too narrow in the seeds' direction (with 3 seeds it sees
2/3 of their variance). Say how many there were beside every interval.
"""

from typing import Literal, NamedTuple

import numpy as np

from clustersae.runtime.errors import InputError

#: How layers become one number: their mean, or the worst (largest) of them.
Layers = Literal["mean", "worst"]


class Interval(NamedTuple):
    """A point estimate and its percentile interval; the ends are NaN if nothing was resampled."""

    estimate: float
    low: float
    high: float


def cells(name: str, interval: Interval) -> dict[str, float]:
    """An interval as columns of a table."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


class Bootstrapping(NamedTuple):
    """Number of resamples and seed of every interval of a table."""

    n_resamples: int = 10_000
    seed: int = 0


class Bootstrap:
    """Resamples of `n_layers` layers and `n_seeds` seeds, shared by everything asked of them.

    For the worst layer only seeds are resampled. A maximum does not average out over a resample
    of layers: each leaves out the worst layer with probability (1 - 1/n)^n, about 0.37, so the
    replicates would lie at or below the estimate and its interval would end there. Every layer of
    the model is in the data; only the seeds are a sample. One seed then gives no interval.

    Args:
        n_layers: layers in the values to come.
        n_seeds: seeds in the values to come.
        n_resamples: bootstrap replicates.
        seed: of the generator; the same arguments give the same intervals.
        confidence: coverage the interval aims at.
    """

    def __init__(
        self,
        n_layers: int,
        n_seeds: int,
        n_resamples: int = 10_000,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> None:
        if min(n_layers, n_seeds, n_resamples) < 1 or not 0 < confidence < 1:
            raise InputError(
                "A bootstrap needs at least one layer, seed and resample and a confidence between"
                f" 0 and 1, not {n_layers}, {n_seeds}, {n_resamples} and {confidence}."
            )
        generator = np.random.default_rng(seed)
        self.shape = (n_layers, n_seeds)
        self.tail = (1 - confidence) / 2
        # A resample is the share of each index in it; its mean is then a weighted mean.
        self.layer_weights = _shares(generator, n_resamples, n_layers)
        self.seed_weights = _shares(generator, n_resamples, n_seeds)

    def mean(self, values: np.ndarray, layers: Layers = "mean") -> Interval:
        """Mean over seeds of the mean (or worst) layer of `values` `[n_layers, n_seeds]`."""
        values = self._checked(values)
        estimate = _over_layers(values.mean(1)[None], layers)
        return self._interval(estimate, self._replicates(values, layers), layers)

    def excess(self, values: np.ndarray, baseline: np.ndarray, layers: Layers = "mean") -> Interval:
        """Relative excess of `values` over `baseline`, paired by layer and seed; 0.04 is 4 %.

        "mean": mean(values) / mean(baseline) - 1, the excess of the mean over layers.
        "worst": max over layers of (mean over seeds of values / the same of baseline) - 1.

        Both arrays are `[n_layers, n_seeds]`; the baseline must be positive.
        """
        values, baseline = self._checked(values), self._checked(baseline)
        if (baseline <= 0).any():
            raise InputError("A relative excess needs a baseline above zero on every layer.")
        if layers == "worst":
            # [B, L]: each layer's own ratio, before the maximum.
            ratios = (self.seed_weights @ values.T) / (self.seed_weights @ baseline.T)
            estimate = (values.mean(1) / baseline.mean(1)).max()
            return self._interval(estimate - 1, ratios.max(1) - 1, layers)
        replicates = self._replicates(values, "mean") / self._replicates(baseline, "mean")
        return self._interval(values.mean() / baseline.mean() - 1, replicates - 1, layers)

    def _replicates(self, values: np.ndarray, layers: Layers) -> np.ndarray:
        by_layer = self.seed_weights @ values.T  # [B, L]
        if layers == "worst":
            return by_layer.max(1)
        return (by_layer * self.layer_weights).sum(1)

    def _interval(self, estimate: float, replicates: np.ndarray, layers: Layers) -> Interval:
        n_layers, n_seeds = self.shape
        resampled = n_seeds if layers == "worst" else n_layers * n_seeds
        if resampled == 1:
            return Interval(float(estimate), np.nan, np.nan)
        low, high = np.quantile(replicates, [self.tail, 1 - self.tail])
        return Interval(float(estimate), float(low), float(high))

    def _checked(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        if values.shape != self.shape:
            raise InputError(
                f"Values of shape {values.shape} do not fit a bootstrap of {self.shape[0]} layers"
                f" and {self.shape[1]} seeds."
            )
        if not np.isfinite(values).all():
            raise InputError("A bootstrap needs finite values on every layer and seed.")
        return values


def ratio_replicates(
    rise: np.ndarray, gap: np.ndarray, bootstrap: Bootstrap
) -> tuple[float, np.ndarray]:
    """Mean of `rise` over mean of `gap`, both [n_units, n_seeds], and its replicates [B].

    Raises:
        InputError: the bootstrap is of other numbers of units and seeds.
    """
    if rise.shape != bootstrap.shape:
        raise InputError(
            f"Values of {rise.shape[0]} units and {rise.shape[1]} seeds do not fit a bootstrap of"
            f" {bootstrap.shape[0]} and {bootstrap.shape[1]}."
        )

    def resampled(values: np.ndarray) -> np.ndarray:
        return ((bootstrap.layer_weights @ values) * bootstrap.seed_weights).sum(1)

    with np.errstate(divide="ignore", invalid="ignore"):
        return float(rise.mean() / gap.mean()), resampled(rise) / resampled(gap)


def percentile_interval(estimate: float, replicates: np.ndarray, bootstrap: Bootstrap) -> Interval:
    """The interval of an estimate from its replicates; none where nothing was resampled."""
    if replicates.size == 0 or np.prod(bootstrap.shape) == 1 or np.isnan(replicates).any():
        return Interval(estimate, np.nan, np.nan)
    low, high = np.quantile(replicates, [bootstrap.tail, 1 - bootstrap.tail])
    return Interval(estimate, float(low), float(high))


def _shares(generator: np.random.Generator, n_resamples: int, n: int) -> np.ndarray:
    """Share of each of `n` indices in each resample of size `n`, `[n_resamples, n]`."""
    return generator.multinomial(n, np.full(n, 1 / n), size=n_resamples) / n


def _over_layers(by_layer: np.ndarray, layers: Layers) -> float:
    return float(by_layer.max() if layers == "worst" else by_layer.mean())
