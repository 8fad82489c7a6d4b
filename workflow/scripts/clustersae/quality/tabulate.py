"""What every SAE and every arm keeps, and what they cost."""

from collections.abc import Mapping, Sequence

import pandas as pd

from clustersae.cost.table import bills_of, cost_table, totals_by_seed
from clustersae.experiment.plan import Plan
from clustersae.presentation.arms import check_evaluated, of_every_arm
from clustersae.presentation.tables import (
    COST,
    LAYER_SPLICE,
    PARTITION_SPLICE,
    RECONSTRUCTION,
    STREAM,
    read_files,
)
from clustersae.quality.layers import layer_quality
from clustersae.quality.pairs import layers_table
from clustersae.quality.series import density_table, training_table
from clustersae.quality.stream import stream_table
from clustersae.quality.summary import arms_table, comparisons_table


def tables(
    plan: Plan,
    reconstruction: Sequence[str],
    density: Sequence[str],
    layer_splice: Sequence[str],
    partition_splice: Sequence[str],
    histories: Sequence[str],
    cost: str,
    stream: str,
    margins: Mapping[str, float],
) -> dict[str, pd.DataFrame]:
    """All tables of quality and cost.

    Args:
        margins: largest excess FVU, of the mean over layers (mean) and of one layer (worst): arms
            are chosen by them on the validation split, and called equivalent on the test split.
    """
    arms, found_by_pilots = plan.arms, (plan.auto or {}).get("arm")
    measured = read_files(reconstruction, RECONSTRUCTION)
    check_evaluated(arms, measured)
    quality = layer_quality(arms, measured, read_files(layer_splice, LAYER_SPLICE))
    bills = bills_of(arms, read_files([cost], COST), found_by_pilots)
    costs, totals = cost_table(bills), totals_by_seed(bills)
    spliced = of_every_arm(read_files(partition_splice, PARTITION_SPLICE), arms)
    densities = density_table(density)
    return {
        "layer_quality": quality,
        "arms": arms_table(arms, quality, spliced, densities, costs, totals, margins),
        "comparisons": comparisons_table(arms, quality, costs, margins),
        "layers": layers_table(arms, quality),
        "cost": costs,
        "training": training_table(histories),
        "latent_density": densities,
        "stream": stream_table(read_files([stream], STREAM), quality),
    }
