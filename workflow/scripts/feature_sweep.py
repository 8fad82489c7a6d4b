"""Summarise how much of their meaning latents keep, by how much is asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.features.sweep import SWEEP, sweep_table
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(sweep: Sequence[str], table: str, arms: Sequence[Arm]) -> None:
    """Write `tables/feature_sweep.csv`.

    Args:
        sweep: what `evaluate_features.py` wrote, for every measured arm.
    """
    rows = of_every_arm(read_files(sweep, SWEEP), arms)
    write_table(sweep_table(arms, rows), table)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        sweep=list(snakemake.input.sweep),
        table=snakemake.output[0],
        arms=read_plan(snakemake.input.plan).coded_arms,
    )
