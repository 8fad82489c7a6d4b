"""Summarise how far the latents of each specialised arm correspond."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clustersae.correspondence.table import CORRESPONDENCE, correspondence_table
from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_arms
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import log
from clustersae.statistics.intervals import Bootstrapping

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    measured: Sequence[str], table: str, arms: Sequence[Arm], n_bootstrap: int, seed: int
) -> None:
    """Write `tables/correspondence.csv`.

    Args:
        measured: files of `evaluate_correspondence.py`: the specialised arms and `per-layer`.
        arms: those of the experiment.
        n_bootstrap, seed: resamples of every interval, and the seed that draws them.
    """
    rows = read_files(measured, CORRESPONDENCE)
    write_table(correspondence_table(arms, rows, Bootstrapping(n_bootstrap, seed)), table)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        measured=list(snakemake.input.correspondence),
        table=snakemake.output[0],
        arms=read_arms(
            snakemake.input.partitions,
            snakemake.params.asked,
            snakemake.input.chosen,
            snakemake.input.specialised,
        ),
        n_bootstrap=snakemake.params.n_bootstrap,
        seed=snakemake.params.seed,
    )
