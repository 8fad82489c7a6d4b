"""What the latents of every arm mean."""

from collections.abc import Sequence

import pandas as pd

from clustersae.experiment.plan import Plan
from clustersae.features.sweep import SWEEP, sweep_table
from clustersae.features.table import (
    COVERAGE,
    JUDGE,
    KEPT,
    MEANING,
    SIMILARITY,
    Measured,
    coverage_table,
    features_table,
    meaning_table,
)
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files
from clustersae.statistics.spread import spread_by_group


def tables(
    plan: Plan,
    latents: Sequence[str],
    layers: Sequence[str],
    meaning: Sequence[str],
    kept: Sequence[str],
    similarity: Sequence[str],
    coverage: Sequence[str],
    sweep: Sequence[str],
    judge: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Features, what they mean, the factors they cover, and a sweep over thresholds.

    Args:
        latents, layers, meaning, kept, similarity, coverage, sweep: what `evaluate_features.py`
            wrote, for every measured arm, the first two in one order.
        judge: what `judge_features.py` wrote, for every measured arm; nothing where
            nobody was asked.
    """
    arms = plan.coded_arms
    # A group of one layer is called by its number, which must stay text.
    frames = {
        "spread": spread_by_group(latents, layers),
        "meaning": read_files(meaning, MEANING).astype({"group": str}),
        "kept": read_files(kept, KEPT).astype({"group": str}),
        "similarity": read_files(similarity, SIMILARITY),
        "coverage": read_files(coverage, COVERAGE),
        "judge": read_files(judge, JUDGE),
    }
    measured = Measured(**{name: of_every_arm(frame, arms) for name, frame in frames.items()})
    return {
        "features": features_table(arms, measured),
        "meaning": meaning_table(arms, measured),
        "coverage": coverage_table(arms, measured),
        "sweep": sweep_table(arms, of_every_arm(read_files(sweep, SWEEP), arms)),
    }
