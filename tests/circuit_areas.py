"""Areas under curves from the sweeps themselves: what the tables compute from prompts.csv."""

from collections.abc import Sequence

import numpy as np

from clustersae.circuits.curves import Measure, _metrics, curve, log_weights
from clustersae.circuits.faithfulness import Sweep
from clustersae.statistics.intervals import (
    Bootstrap,
    Interval,
    percentile_interval,
    ratio_replicates,
)


def area(sweep: Sweep, measure: Measure) -> float:
    """Mean height of the curve over log N, by the trapezoidal rule."""
    return float(log_weights(sweep.sizes) @ curve(sweep, measure))


def area_interval(sweeps: Sequence[Sweep], measure: Measure, bootstrap: Bootstrap) -> Interval:
    """The area over several seeds of the SAEs, with an interval over prompts and seeds.

    Args:
        sweeps: one per seed, of the same prompts and sizes.
        bootstrap: of n_prompts × n_seeds. Arms compared with one another share it.
    """
    estimate, replicates = _area_replicates(sweeps, measure, bootstrap)
    return percentile_interval(estimate, replicates, bootstrap)


def area_difference(
    sweeps: Sequence[Sweep], others: Sequence[Sweep], measure: Measure, bootstrap: Bootstrap
) -> Interval:
    """Area of one arm minus that of another, paired by prompt and seed."""
    estimate, replicates = _area_replicates(sweeps, measure, bootstrap)
    other, other_replicates = _area_replicates(others, measure, bootstrap)
    return percentile_interval(estimate - other, replicates - other_replicates, bootstrap)


def _area_replicates(
    sweeps: Sequence[Sweep], measure: Measure, bootstrap: Bootstrap
) -> tuple[float, np.ndarray]:
    """The area is linear in m, so a prompt's own part of it is a number, and areas are ratios."""
    empty = np.stack([sweep.empty for sweep in sweeps], 1)  # [n_prompts, n_seeds]
    weights = [log_weights(sweep.sizes) for sweep in sweeps]
    parts = [w @ _metrics(sweep, measure) for w, sweep in zip(weights, sweeps)]
    gap = np.stack([sweep.full for sweep in sweeps], 1) - empty
    return ratio_replicates(np.stack(parts, 1) - empty, gap, bootstrap)
