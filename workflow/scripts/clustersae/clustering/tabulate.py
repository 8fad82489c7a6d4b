"""Every partition that the study may use, with its scores, as the content of partitions.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clustersae.clustering import linkage, scores
from clustersae.clustering.contiguous import contiguous_partitions
from clustersae.clustering.controls import even_clusters, random_clusters
from clustersae.clustering.kmeans import kmeans_clusters
from clustersae.clustering.matrix import check_distances
from clustersae.clustering.scores import Clusters
from clustersae.experiment.clusters import cluster_name
from clustersae.runtime.errors import InputError

#: Partitions found from the distances.
METHODS = (*linkage.METHODS, "contiguous", "kmeans")
#: Partitions that ignore them. "single" and "per-layer" are always made; naming them is allowed.
CONTROLS = ("even", "random", "single", "per-layer")
_COUNTED = ("even", "random")


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
    for method in (*methods, *(control for control in controls if control in _COUNTED)):
        found: list[tuple[Clusters, float | None]]
        if method in trees:
            found = [linkage.cut(trees[method], count) for count in range(1, n_layers + 1)]
        else:
            found = [(clusters, None) for clusters in _without_tree(method, distances, seed)]
        for clusters, height in found:
            add(f"{method}-{len(clusters)}", method, clusters, height)
    add("per-layer", "per-layer", [(layer,) for layer in range(n_layers)])

    return {
        "n_layers": n_layers,
        "distance": distance,
        "seed": seed,
        "order": list(partitions),
        "partitions": partitions,
        "tree": {method: linkage.tree(steps) for method, steps in trees.items()},
    }


def _without_tree(method: str, distances: np.ndarray, seed: int) -> list[Clusters]:
    """The partitions into 1 … n_layers clusters of a method that makes no hierarchy."""
    n_layers = len(distances)
    counts = range(1, n_layers + 1)
    match method:
        case "contiguous":
            return contiguous_partitions(distances)
        case "kmeans":
            return [kmeans_clusters(distances, count, seed) for count in counts]
        case "even":
            return [even_clusters(n_layers, count) for count in counts]
        case "random":
            return [random_clusters(n_layers, count, seed) for count in counts]
    raise ValueError(f"{method!r} is no method of making partitions.")


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
