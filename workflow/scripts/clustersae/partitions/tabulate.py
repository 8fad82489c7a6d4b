"""Every partition that the study may use, with its scores, as the content of partitions.json."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clustersae.clusters import cluster_name
from clustersae.errors import InputError
from clustersae.partitions import linkage, scores
from clustersae.partitions.contiguous import contiguous_partitions
from clustersae.partitions.controls import even_clusters, random_clusters
from clustersae.partitions.kmeans import kmeans_clusters
from clustersae.partitions.matrix import check_distances
from clustersae.partitions.scores import Clusters

#: Partitions found from the distances.
METHODS = (*linkage.METHODS, "contiguous", "kmeans")
#: Partitions that ignore them. "single" and "per-layer" are always made; naming them is allowed.
CONTROLS = ("even", "random", "single", "per-layer")


def tabulate_partitions(
    distances: np.ndarray,
    distance: str,
    methods: Sequence[str],
    controls: Sequence[str],
    counts: Sequence[int] | str,
    seed: int,
) -> dict[str, Any]:
    """All partitions of all methods and controls, for every number of clusters.

    They cost nothing beside one SAE, and with all of them in the file a change of `counts`
    changes no file that has been computed.

    Args:
        distances: `[n_layers, n_layers]`.
        distance: the name of the distance, recorded.
        methods: out of `METHODS`.
        controls: out of `CONTROLS`.
        counts: the numbers of clusters asked for, or "auto"; only checked against n_layers.
        seed: of k-means and the random control.

    Returns:
        `n_layers`, `distance`, `seed`; `order`, the names of the partitions; `partitions`, by
        name: method, count, clusters, cut_height (linkage only, else None), amad,
        weighted_mean_distance, max_distance; and `tree`, by linkage method: the parent of every
        cluster in the hierarchy.

    Raises:
        InputError: bad distances, an unknown method, or a count outside 1 … n_layers.
    """
    distances = check_distances(distances)
    n_layers = len(distances)
    _check_names(methods, METHODS, "clustering.methods")
    _check_names(controls, CONTROLS, "clustering.controls")
    check_counts(counts, n_layers)

    trees = {
        method: linkage.merges(distances, method) for method in methods if method in linkage.METHODS
    }
    partitions: dict[str, dict[str, Any]] = {}

    def add(name: str, method: str, clusters: Clusters, height: float | None = None) -> None:
        partitions[name] = {
            "method": method,
            "count": len(clusters),
            "clusters": [cluster_name(cluster) for cluster in clusters],
            "cut_height": height,
            "amad": scores.amad(distances, clusters),
            "weighted_mean_distance": scores.weighted_mean_distance(distances, clusters),
            "max_distance": scores.max_distance(distances, clusters),
        }

    add("single", "single", [tuple(range(n_layers))])
    for method in (*methods, *(control for control in controls if control in ("even", "random"))):
        if method in trees:
            for count in range(1, n_layers + 1):
                add(f"{method}-{count}", method, *linkage.cut(trees[method], count))
            continue
        clusters_of = _clusters_of(method, distances, seed)
        for count in range(1, n_layers + 1):
            add(f"{method}-{count}", method, clusters_of(count))
    add("per-layer", "per-layer", [(layer,) for layer in range(n_layers)])

    return {
        "n_layers": n_layers,
        "distance": distance,
        "seed": seed,
        "order": list(partitions),
        "partitions": partitions,
        "tree": {method: linkage.tree(steps) for method, steps in trees.items()},
    }


def _clusters_of(method: str, distances: np.ndarray, seed: int) -> Callable[[int], Clusters]:
    """The clusters of a method without a tree, as a function of their number."""
    n_layers = len(distances)
    if method == "contiguous":
        optima = contiguous_partitions(distances)
        return lambda count: optima[count - 1]
    if method == "kmeans":
        return lambda count: kmeans_clusters(distances, count, seed)
    if method == "even":
        return lambda count: even_clusters(n_layers, count)
    return lambda count: random_clusters(n_layers, count, seed)


def _check_names(names: Sequence[str], allowed: Sequence[str], key: str) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise InputError(f"{key} names {', '.join(unknown)}: use {', '.join(allowed)}.")
    if len(set(names)) < len(names):
        raise InputError(f"{key} names a method twice: {', '.join(names)}.")


def check_counts(counts: Sequence[int] | str, n_layers: int) -> None:
    """Refuse numbers of clusters that a model of `n_layers` layers cannot have."""
    if isinstance(counts, str):
        if counts != "auto":
            raise InputError(f'clustering.counts is {counts!r}: give a list of numbers or "auto".')
        return
    for count in counts:
        if not 1 <= count <= n_layers:
            raise InputError(
                f"clustering.counts asks for {count} clusters, and this model has {n_layers}"
                f" layers: use 1 to {n_layers}."
            )
