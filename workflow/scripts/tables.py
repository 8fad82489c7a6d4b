"""Assemble the tables from the evaluation files of one model."""

from collections.abc import Mapping, Sequence

import pandas as pd

from clustersae.cost.table import cost_table
from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.presentation.arms import check_evaluated, of_every_arm
from clustersae.presentation.tables import (
    COST,
    LAYER_SPLICE,
    PARTITION_SPLICE,
    RECONSTRUCTION,
    STREAM,
    read_files,
    write_table,
)
from clustersae.quality.layers import layer_quality
from clustersae.quality.pairs import layers_table
from clustersae.quality.series import density_table, training_table
from clustersae.quality.stream import stream_table
from clustersae.quality.summary import arms_table, comparisons_table
from clustersae.runtime import job


def main(
    reconstruction_files: Sequence[str],
    layer_splice_files: Sequence[str],
    partition_splice_files: Sequence[str],
    density_files: Sequence[str],
    history_files: Sequence[str],
    cost_file: str,
    stream_file: str,
    layer_quality_out: str,
    arms_out: str,
    comparisons_out: str,
    layers_out: str,
    cost_out: str,
    training_out: str,
    latent_density_out: str,
    stream_out: str,
    arms: Sequence[Arm],
    margins: Mapping[str, float],
    found_by_pilots: str | None = None,
) -> None:
    """Write all tables of one model.

    Args:
        arms: those asked for, with the per-layer baseline among them.
        margins: largest excess FVU, of the mean over layers (mean) and of one layer (worst): arms
            are chosen by them on the validation split, and called equivalent on the test split.
        found_by_pilots: the arm that pilots have chosen, which pays for them.
    """
    reconstruction = read_files(reconstruction_files, RECONSTRUCTION)
    check_evaluated(arms, reconstruction)

    quality = layer_quality(arms, reconstruction, read_files(layer_splice_files, LAYER_SPLICE))
    cost = cost_table(arms, read_files([cost_file], COST), found_by_pilots)
    spliced = of_every_arm(read_files(partition_splice_files, PARTITION_SPLICE), arms)
    density = density_table(density_files)
    summary = arms_table(arms, quality, spliced, density, cost, margins)
    comparisons = comparisons_table(arms, quality, cost, margins)

    tables: dict[str, pd.DataFrame] = {
        layer_quality_out: quality,
        arms_out: summary,
        comparisons_out: comparisons,
        layers_out: layers_table(arms, quality),
        cost_out: cost,
        training_out: training_table(history_files),
        latent_density_out: density,
        stream_out: stream_table(read_files([stream_file], STREAM), quality),
    }
    for path, table in tables.items():
        write_table(table, path)


if __name__ == "__main__":
    job.start(snakemake)
    plan = read_plan(snakemake.input.plan)
    main(
        reconstruction_files=list(snakemake.input.reconstruction),
        layer_splice_files=list(snakemake.input.layer_splice),
        partition_splice_files=list(snakemake.input.partition_splice),
        density_files=list(snakemake.input.density),
        history_files=list(snakemake.input.histories),
        cost_file=snakemake.input.cost,
        stream_file=snakemake.input.stream,
        layer_quality_out=snakemake.output.layer_quality,
        arms_out=snakemake.output.arms,
        comparisons_out=snakemake.output.comparisons,
        layers_out=snakemake.output.layers,
        cost_out=snakemake.output.cost,
        training_out=snakemake.output.training,
        latent_density_out=snakemake.output.latent_density,
        stream_out=snakemake.output.stream,
        arms=plan.arms,
        margins=snakemake.params.margins,
        found_by_pilots=(plan.auto or {}).get("arm"),
    )
