"""Hierarchical clustering of layers on their precomputed distances."""

from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from clustersae.clustering.scores import Clusters, ordered

METHODS = ("complete", "average")


@dataclass(frozen=True)
class Merge:
    """One step of the agglomeration.

    Attributes:
        children: the two clusters that are joined, ordered by their first layer.
        height: their distance by the linkage: the largest (complete) or the mean (average)
            distance between a layer of one and a layer of the other.
    """

    children: tuple[tuple[int, ...], tuple[int, ...]]
    height: float

    @property
    def parent(self) -> tuple[int, ...]:
        return tuple(sorted(self.children[0] + self.children[1]))


def merges(distances: np.ndarray, method: str) -> list[Merge]:
    """The n_layers − 1 merges from single layers up to one cluster, by ascending height.

    Args:
        distances: `[n_layers, n_layers]`, symmetric. They are used as they are: the linkage never
            takes rows of the matrix for coordinates.
        method: "complete" or "average".
    """
    n_layers = len(distances)
    if n_layers == 1:
        return []
    clusters: list[tuple[int, ...]] = [(layer,) for layer in range(n_layers)]
    steps = []
    for left, right, height, _ in hierarchy.linkage(squareform(distances), method=method):
        first, second = ordered([clusters[int(left)], clusters[int(right)]])
        steps.append(Merge((first, second), float(height)))
        clusters.append(steps[-1].parent)
    return steps


def cut(steps: list[Merge], count: int) -> tuple[Clusters, float]:
    """Undo all but the first n_layers − count merges.

    Counting merges, rather than cutting at a height, gives exactly `count` clusters also where
    several merges have one height.

    Returns:
        The clusters, and the height of the last merge done (0 if none is).
    """
    n_layers = len(steps) + 1
    clusters: set[tuple[int, ...]] = {(layer,) for layer in range(n_layers)}
    height = 0.0
    for step in steps[: n_layers - count]:
        clusters -= set(step.children)
        clusters.add(step.parent)
        height = step.height
    return ordered(list(clusters)), height
