"""Faithfulness and completeness against circuit size, and what sizes count for in their areas.

    faithfulness(C) = (m(C) − m(∅)) / (m(M) − m(∅))        completeness(C) = faithfulness(M∖C)

with m the mean over prompts (a ratio of means: single prompts may have m(M) ≈ m(∅)). A complete
circuit leaves nothing: low is good. (Marks et al. 2024, section 4.)

With errors as `nodes` the ends are fixed: all nodes give 1 and leave 0, no nodes give 0 and leave
1. With errors `kept` only the ends with all nodes inside are fixed, at 1; the others say what the
errors carry alone. With errors `ablated` only the ends with none inside are fixed, at 0; the others
say what the latents carry alone.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted

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


def distances(sweep: "Sweep") -> np.ndarray:
    """What every prompt adds to the mean of |1 − faithfulness| over log N, [n_prompts].

    Its mean over prompts, over the gap m(M) − m(∅), is Σ w_N |1 − F_N|, with F_N of all prompts
    together: the circuit-model distance of MIB (Mueller et al. 2025, arXiv 2504.13151), there over
    shares of a graph. Unlike the area under F it earns nothing by overshooting 1. For intervals
    the sign of 1 − F_N is taken as given.
    """
    short = sweep.full - sweep.circuit
    gap = (sweep.full - sweep.empty).mean()
    signs = np.sign(short.mean(1)) * np.sign(gap)
    return (log_weights(sweep.sizes) * signs) @ short


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
            f" {counted(len(full), 'prompt')}, below {min_accuracy:.0%}"
        )
    gap = float((full - empty).mean())
    if abs(gap) < min_gap:
        return (
            f"its logit difference is {full.mean():.2f}, and with everything ablated still"
            f" {empty.mean():.2f}: less than {min_gap} apart"
        )
    return None
