"""Partitions into runs of consecutive layers."""

from collections.abc import Iterable
from itertools import pairwise

from clustersae.clustering.scores import Clusters


def runs_between(cuts: Iterable[int], n_layers: int) -> Clusters:
    """Runs of consecutive layers that begin at layer 0 and at every one of the ascending `cuts`."""
    return [tuple(range(start, stop)) for start, stop in pairwise((0, *cuts, n_layers))]
