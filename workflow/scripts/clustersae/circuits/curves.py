"""Faithfulness and completeness against circuit size, the areas under them, and intervals.

    faithfulness(C) = (m(C) − m(∅)) / (m(M) − m(∅))        completeness(C) = faithfulness(M∖C)

with m the mean over prompts (a ratio of means: single prompts may have m(M) ≈ m(∅)). A complete
circuit leaves nothing: low is good. (Marks et al. 2024, section 4.)

With errors as `nodes` the ends are fixed: all nodes give 1 and leave 0, no nodes give 0 and leave
1. With errors `kept` only the ends with all nodes inside are fixed, at 1; the others say what the
errors carry alone. With errors `ablated` only the ends with none inside are fixed, at 0; the others
say what the latents carry alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import Bootstrap, Interval

if TYPE_CHECKING:  # tables are made without torch
    from clustersae.circuits.faithfulness import Sweep

#: Which curve.
Measure = Literal["faithfulness", "completeness"]

#: A model does a task that it answers rightly on this share of prompts...
MIN_ACCURACY = 0.75
#: ... and that its stream decides by this much, in logits: |m(M) − m(∅)|, which divides.
MIN_GAP = 0.5


def log_sizes(largest: int, n_sizes: int) -> list[int]:
    """Up to `n_sizes` sizes from 1 to `largest`, evenly spaced in log N, without repeats."""
    if largest < 1 or n_sizes < 2:
        raise InputError(
            f"Circuits of up to {largest} nodes at {n_sizes} sizes: at least 1 and 2 are needed."
        )
    return np.unique(np.rint(np.geomspace(1, largest, n_sizes)).astype(int)).tolist()


def curve(sweep: "Sweep", measure: Measure) -> np.ndarray:
    """Faithfulness or completeness at every size, [S]; NaN where m(M) = m(∅)."""
    gap = (sweep.full - sweep.empty).mean()
    rise = (_metrics(sweep, measure) - sweep.empty).mean(1)
    return rise / gap if gap else np.full(len(rise), np.nan)


def area(sweep: "Sweep", measure: Measure) -> float:
    """Mean height of the curve over log N, by the trapezoidal rule."""
    return float(log_weights(sweep.sizes) @ curve(sweep, measure))


def log_weights(sizes: np.ndarray) -> np.ndarray:
    """What each size counts for in the area, [S]; they add up to 1.

    Raises:
        InputError: sizes that have no logarithm or do not ascend.
    """
    sizes = np.asarray(sizes)
    if sizes.min() < 1 or (np.diff(sizes) <= 0).any():
        raise InputError(
            f"An area over log N needs ascending sizes from 1 on, not {sizes.tolist()}."
        )
    if len(sizes) == 1:
        return np.ones(1)
    widths = np.diff(np.log(sizes))
    weights = np.zeros(len(sizes))
    weights[:-1] += widths / 2
    weights[1:] += widths / 2
    return weights / widths.sum()


def area_interval(sweeps: Sequence["Sweep"], measure: Measure, bootstrap: Bootstrap) -> Interval:
    """The area over several seeds of the SAEs, with an interval over prompts and seeds.

    Args:
        sweeps: one per seed, of the same prompts and sizes.
        bootstrap: of n_prompts × n_seeds. Arms compared with one another share it.
    """
    estimate, replicates = _area_replicates(sweeps, measure, bootstrap)
    return percentile_interval(estimate, replicates, bootstrap)


def area_difference(
    sweeps: Sequence["Sweep"], others: Sequence["Sweep"], measure: Measure, bootstrap: Bootstrap
) -> Interval:
    """Area of one arm minus that of another, paired by prompt and seed."""
    estimate, replicates = _area_replicates(sweeps, measure, bootstrap)
    other, other_replicates = _area_replicates(others, measure, bootstrap)
    return percentile_interval(estimate - other, replicates - other_replicates, bootstrap)


def _area_replicates(
    sweeps: Sequence["Sweep"], measure: Measure, bootstrap: Bootstrap
) -> tuple[float, np.ndarray]:
    """The area is linear in m, so a prompt's own part of it is a number, and areas are ratios."""
    empty = np.stack([sweep.empty for sweep in sweeps], 1)  # [n_prompts, n_seeds]
    weights = [log_weights(sweep.sizes) for sweep in sweeps]
    parts = [w @ _metrics(sweep, measure) for w, sweep in zip(weights, sweeps)]
    gap = np.stack([sweep.full for sweep in sweeps], 1) - empty
    return ratio_replicates(np.stack(parts, 1) - empty, gap, bootstrap)


def ratio_replicates(
    rise: np.ndarray, gap: np.ndarray, bootstrap: Bootstrap
) -> tuple[float, np.ndarray]:
    """Mean of `rise` over mean of `gap`, both [n_prompts, n_seeds], and its replicates [B].

    Raises:
        InputError: the bootstrap is of other numbers of prompts and seeds.
    """
    if rise.shape != bootstrap.shape:
        raise InputError(
            f"Sweeps over {rise.shape[0]} prompts and {rise.shape[1]} seeds do not fit a"
            f" bootstrap of {bootstrap.shape[0]} and {bootstrap.shape[1]}."
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


def _metrics(sweep: "Sweep", measure: Measure) -> np.ndarray:
    return sweep.circuit if measure == "faithfulness" else sweep.complement


def accuracy(full: np.ndarray) -> float:
    """Share of prompts on which the model prefers the answer."""
    return float((full > 0).mean())


def why_unusable(
    full: np.ndarray,
    empty: np.ndarray,
    min_accuracy: float = MIN_ACCURACY,
    min_gap: float = MIN_GAP,
) -> str | None:
    """Why a model's circuits for a task would mean nothing, in words; None if they mean something.

    Args:
        full: m(M) and `empty`: m(∅), [n_prompts].
    """
    if accuracy(full) < min_accuracy:
        return (
            f"the model cannot do this task: it prefers the answer on {accuracy(full):.0%} of"
            f" {len(full)} prompts, below {min_accuracy:.0%}"
        )
    gap = float((full - empty).mean())
    if abs(gap) < min_gap:
        return (
            f"its logit difference is {full.mean():.2f}, and with everything ablated still"
            f" {empty.mean():.2f}: less than {min_gap} apart"
        )
    return None
