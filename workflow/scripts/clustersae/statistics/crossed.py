"""Ratios over prompts and seeds, both of which are samples: every prompt meets every seed.

With x the rises and y the gaps, both [n_groups, n_seeds], the ratio is R = Σ x / Σ y, and an
entry's own part in its error, by Taylor's formula (Cochran 1977, section 6.3),

    r_gs = (x_gs − R y_gs) / mean(y).

Of these, as of any two-way table (Searle, Casella & McCulloch 1992, section 4.3), the variance of
the mean is V_s + V_g − V_gs with

    V_s  = Σ_s (mean_g r)² / (S (S − 1))                    n_seeds − 1 degrees of freedom
    V_g  = Σ_g (mean_s r)² / (G (G − 1))                    n_groups − 1
    V_gs = Σ (r − mean_g r − mean_s r)² / (G S (G − 1) (S − 1))

V_s and V_g both count what a prompt and a seed do together; V_gs takes it off once, from V_g, which
stays at zero or above. Seeds keep their few degrees of freedom (see `Estimate.interval`), and no
number of prompts makes up for them. Resampling prompts would estimate the same V_g.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import Estimate, Part


class Crossed(NamedTuple):
    """A ratio (or a difference of two) and what its error is made of, `errors` [n_groups, n_seeds].

    An array of one seed is of what has no seeds, and so is the same for all of them.
    """

    value: float
    errors: np.ndarray

    @classmethod
    def ratio(cls, rise: np.ndarray, gap: np.ndarray) -> "Crossed":
        """Σ rise / Σ gap, both [n_groups, n_seeds].

        Raises:
            InputError: the shapes differ.
        """
        if rise.shape != gap.shape:
            raise InputError(f"Rises of shape {rise.shape} do not fit gaps of {gap.shape}.")
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(rise.mean() / gap.mean())
            return cls(value, (rise - value * gap) / gap.mean())

    def minus(self, other: "Crossed") -> "Crossed":
        """The difference, paired by group and seed."""
        return Crossed(self.value - other.value, self.errors - other.errors)


def estimate(ratios: Sequence[Crossed], has_seeds: bool = True) -> Estimate:
    """The mean of ratios of the same seeds, each of prompts of its own.

    The ratios of one arm, one per task: tasks are all that were asked for, and no sample.

    Args:
        has_seeds: one seed has no interval; what has no seeds has one over prompts alone.
    """
    value = float(np.mean([ratio.value for ratio in ratios]))
    n_seeds = max(ratio.errors.shape[1] for ratio in ratios)
    if np.isnan(value) or (has_seeds and n_seeds == 1):
        return Estimate(value)
    errors = [np.broadcast_to(each.errors, (len(each.errors), n_seeds)) for each in ratios]
    parts = [_of_groups(each, len(ratios)) for each in errors]
    if any(np.isnan(part.variance) for part in parts):
        return Estimate(value)
    if n_seeds > 1:
        of_seeds = np.mean([each.mean(0) for each in errors], axis=0)
        parts.insert(0, Part(float((of_seeds**2).sum() / (n_seeds * (n_seeds - 1))), n_seeds - 1))
    return Estimate(value, tuple(parts))


def _of_groups(errors: np.ndarray, n_ratios: int) -> Part:
    """V_g − V_gs of one ratio, of which the mean takes one in `n_ratios`; NaN for one group."""
    n_groups, n_seeds = errors.shape
    if n_groups == 1:
        return Part(np.nan, 0)
    of_groups, of_seeds = errors.mean(1, keepdims=True), errors.mean(0, keepdims=True)
    variance = (of_groups**2).sum() / (n_groups * (n_groups - 1))
    if n_seeds > 1:
        rest = errors - of_groups - of_seeds
        both = (rest**2).sum() / ((n_groups - 1) * (n_seeds - 1))
        variance = max(0.0, variance - both / (n_groups * n_seeds))
    return Part(float(variance) / n_ratios**2, n_groups - 1)
