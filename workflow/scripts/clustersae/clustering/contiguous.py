"""The best partition into runs of consecutive layers."""

import numpy as np

from clustersae.clustering.runs import runs_between
from clustersae.clustering.scores import Clusters, mean_within


def contiguous_partitions(distances: np.ndarray) -> list[Clusters]:
    """The exact optimum for every number of clusters, by dynamic programming over intervals.

    Minimises `scores.total_sharing`: the sum over runs of (number of layers − 1) · (mean distance
    between two of them). The weights of all partitions into K runs then add up to the same, L − K;
    with the number of layers itself a run of one layer would be free, and single layers would be
    cut off the ends. Of equally good partitions the one with the earliest cuts is taken. Any
    additive cost of runs can be minimised so (Bellman 1961; the Fisher 1958 problem), in
    O(n_layers³) steps for all counts together.

    Returns:
        The partition into K runs at index K − 1, for K = 1 … n_layers.
    """
    n_layers = len(distances)
    cost = {
        (start, stop): (stop - start - 1) * mean_within(distances, range(start, stop))
        for start in range(n_layers)
        for stop in range(start + 1, n_layers + 1)
    }
    # best[stop]: cost and cuts of the best partition of layers 0 … stop − 1 into `count` runs.
    # Tuples compare by cost first and by cuts second, which settles ties.
    best: dict[int, tuple[float, tuple[int, ...]]] = {
        stop: (cost[0, stop], ()) for stop in range(1, n_layers + 1)
    }
    partitions = [runs_between((), n_layers)]
    for count in range(2, n_layers + 1):
        best = {
            stop: min(
                (best[cut][0] + cost[cut, stop], (*best[cut][1], cut))
                for cut in range(count - 1, stop)
            )
            for stop in range(count, n_layers + 1)
        }
        partitions.append(runs_between(best[n_layers][1], n_layers))
    return partitions
