"""Summarise how well few latents of every arm tell labels of tokens."""

from collections.abc import Sequence

from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files, write_table
from clustersae.probing.table import ACTIVATIONS, PROBES, probing_table
from clustersae.runtime import job


def main(measured: Sequence[str], activations: str, table: str, arms: Sequence[Arm]) -> None:
    """Write `tables/probing.csv`.

    Args:
        measured: files of `evaluate_probing.py`, of every measured arm.
        activations: the same of the activations themselves.
    """
    rows = of_every_arm(read_files(measured, PROBES), arms)
    write_table(probing_table(arms, rows, read_files([activations], ACTIVATIONS)), table)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        measured=list(snakemake.input.probes),
        activations=snakemake.input.activations,
        table=snakemake.output[0],
        arms=read_plan(snakemake.input.plan).coded_arms,
    )
