"""Distances between layers beside what SAEs lose between them."""

from collections.abc import Sequence

from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import job
from clustersae.transfer.table import (
    DISTANCES,
    TRANSFER,
    pairs_table,
    partitions_table,
    similarity_table,
)


def main(measured: str, distances: str, outputs: Sequence[str]) -> None:
    """Write the tables of pairs, of rank correlations and of partitions, in this order.

    Args:
        measured: of `evaluate_transfer.py`; distances: `clusters/distances.csv`.
    """
    known = read_files([distances], DISTANCES)
    names = list(dict.fromkeys(known["distance"]))
    pairs = pairs_table(read_files([measured], TRANSFER), known)
    tables = pairs, similarity_table(pairs, names), partitions_table(pairs, names)
    for table, path in zip(tables, outputs, strict=True):
        write_table(table, path)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        measured=snakemake.input.transfer,
        distances=snakemake.input.distances,
        outputs=[snakemake.output.pairs, snakemake.output.similarity, snakemake.output.partitions],
    )
