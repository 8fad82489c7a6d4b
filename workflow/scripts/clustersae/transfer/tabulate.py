"""Distances between layers beside what SAEs lose between them."""

import pandas as pd

from clustersae.presentation.tables import read_files
from clustersae.transfer.table import (
    DISTANCES,
    TRANSFER,
    pairs_table,
    partitions_table,
    similarity_table,
)


def tables(transfer: str, distances: str) -> dict[str, pd.DataFrame]:
    """Tables of pairs, of rank correlations and of partitions.

    Args:
        transfer: of `evaluate_transfer.py`; distances: `clusters/distances.csv`.
    """
    known = read_files([distances], DISTANCES)
    names = list(dict.fromkeys(known["distance"]))
    pairs = pairs_table(read_files([transfer], TRANSFER), known)
    return {
        "pairs": pairs,
        "similarity": similarity_table(pairs, names),
        "partitions": partitions_table(pairs, names),
    }
