"""How tight a partition is: three summaries of the distances within its clusters."""

from collections.abc import Sequence

import numpy as np

#: The clusters of one partition, each as ascending layers, ordered by their first layer.
Clusters = list[tuple[int, ...]]


def ordered(clusters: Sequence[Sequence[int]]) -> Clusters:
    """Clusters in canonical order."""
    return sorted(tuple(sorted(int(layer) for layer in cluster)) for cluster in clusters)


def _pairs(distances: np.ndarray, cluster: Sequence[int]) -> np.ndarray:
    """Distances between the distinct layers of a cluster, each pair once."""
    within = distances[np.ix_(cluster, cluster)]
    return within[np.triu_indices(len(cluster), k=1)]


def mean_within(distances: np.ndarray, cluster: Sequence[int]) -> float:
    """Mean distance over the pairs of distinct layers in a cluster; 0 for a single layer."""
    return float(_pairs(distances, cluster).mean()) if len(cluster) > 1 else 0.0


def max_within(distances: np.ndarray, cluster: Sequence[int]) -> float:
    """Largest distance between two layers of a cluster (its diameter); 0 for a single layer."""
    return float(_pairs(distances, cluster).max()) if len(cluster) > 1 else 0.0


def weighted_mean_distance(distances: np.ndarray, clusters: Clusters) -> float:
    """Σ_g |g| · (mean distance within g) / n_layers.

    The distance that the average layer has to the others it shares an SAE with.
    """
    return sum(len(g) * mean_within(distances, g) for g in clusters) / len(distances)


def total_sharing(distances: np.ndarray, clusters: Clusters) -> float:
    """Σ_g (|g| − 1) · (mean distance within g): what `contiguous` minimises."""
    return sum((len(g) - 1) * mean_within(distances, g) for g in clusters)


def max_distance(distances: np.ndarray, clusters: Clusters) -> float:
    """The largest distance between two layers that share a cluster."""
    return max(max_within(distances, g) for g in clusters)


def amad(distances: np.ndarray, clusters: Clusters) -> float:
    """Mean over clusters of their largest distance: AMAD of Group-SAE (Ghilardi et al. 2025).

    For comparison only. It counts every cluster alike and single layers as 0, so it is least for
    one huge cluster among singletons, a partition that serves most layers badly.
    """
    return sum(max_within(distances, g) for g in clusters) / len(clusters)
