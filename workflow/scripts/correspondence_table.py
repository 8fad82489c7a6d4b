"""Summarise how far the latents of each specialised arm correspond."""

from collections.abc import Sequence

from clustersae.correspondence.table import CORRESPONDENCE, correspondence_table
from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import job


def main(measured: Sequence[str], table: str, arms: Sequence[Arm]) -> None:
    """Write `tables/correspondence.csv`.

    Args:
        measured: files of `evaluate_correspondence.py`: the specialised arms and `per-layer`.
        arms: those of the experiment.
    """
    rows = read_files(measured, CORRESPONDENCE)
    write_table(correspondence_table(arms, rows), table)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        measured=list(snakemake.input.correspondence),
        table=snakemake.output[0],
        arms=read_plan(snakemake.input.plan).arms,
    )
