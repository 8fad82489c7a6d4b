"""Whether layers that are close share an SAE at little loss, in words."""

import numpy as np
import pandas as pd

from clustersae.presentation.findings import Findings
from clustersae.presentation.words import listed, percent
from clustersae.transfer.table import LOSS


def line(found: Findings) -> str:
    """Nothing: the figure and the long form say it."""
    return ""


def paragraph(found: Findings) -> str:
    """How well each distance ranks pairs of layers, and what clustering by it gains over none."""
    table, partitions = found.tables["similarity"], found.tables["transfer_partitions"]
    if table.empty:
        return ""
    first = table.iloc[0]
    ranked = [
        f"{row['distance']} {row['rank_correlation']:.2f}{_bounds(row)}"
        for _, row in table.sort_values("rank_correlation", ascending=False).iterrows()
    ]
    sentences = [
        f"Over {int(first['n_pairs'])} pairs of layers, the rank correlation of what the SAE of one"
        f" loses when it is read on the other with the distance of the two is {listed(ranked)}."
    ]
    return " ".join([*sentences, *_partitions(partitions)])


def _bounds(row: pd.Series) -> str:
    low, high = row["rank_correlation_low"], row["rank_correlation_high"]
    return "" if np.isnan(low) else f" [{low:.2f} to {high:.2f}]"


def _partitions(partitions: pd.DataFrame) -> list[str]:
    """At the middle number of clusters, where methods have most to choose from."""
    if partitions.empty:
        return []
    counts = sorted(set(partitions["count"]))
    count = counts[len(counts) // 2]
    rows = partitions[partitions["count"] == count].set_index("distance")["mean_excess"]
    others = rows.drop([LOSS, "even"])
    parts = [f"{percent(value)} by {name}" for name, value in others.items()]
    return [
        f"In {count} clusters, complete linkage leaves the average layer with SAEs of its"
        f" neighbours that lose {listed(parts)}; by the loss itself it would be"
        f" {percent(rows[LOSS])}, and even runs leave {percent(rows['even'])}."
    ]
