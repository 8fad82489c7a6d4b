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


def tabulate_partitions(
    distances: np.ndarray,
    layers: Sequence[int],
    distance: str,
    methods: Sequence[str],
    controls: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """All partitions of all methods and controls, for every number of clusters.

    They cost nothing beside one SAE, and with all of them in the file a change of the numbers
    asked for changes no file that has been computed.

    Args:
        distances: `[n_layers, n_layers]`.
        layers: the studied layers, as indices in the model; clusters are named by them.
        distance: the name of the distance, recorded.
        methods: found from the distances: complete, average, contiguous, kmeans.
        controls: that ignore them: even, random.
        draws: random partitions for each number of clusters; those after the first are named
            `random-3.1` and so on.
        seed: of k-means and the random control.

    Returns:
        `n_layers`, `layers`, `distance`, `seed`; `order`, the names of the partitions;
        `partitions`, by name: method, count, clusters, cut_height (linkage only, else None), amad,
        weighted_mean_distance, max_distance.

    Raises:
        InputError: bad distances, or an unknown method.
    """
    distances = check_distances(distances, layers)
    n_layers = len(distances)

    trees = {
        method: linkage.merges(distances, method) for method in methods if method in linkage.METHODS
    }
    partitions: dict[str, dict[str, Any]] = {}

    def add(name: str, method: str, clusters: Clusters, height: float | None = None) -> None:
        partitions[name] = {
            "method": method,
            "count": len(clusters),
            "clusters": [cluster_name(layers[i] for i in cluster) for cluster in clusters],
            "cut_height": height,
            "amad": scores.amad(distances, clusters),
            "weighted_mean_distance": scores.weighted_mean_distance(distances, clusters),
            "max_distance": scores.max_distance(distances, clusters),
        }

    add("single", "single", [tuple(range(n_layers))])
    for method in (*methods, *controls):
        found: list[tuple[Clusters, float | None]]
        if method in trees:
            found = [linkage.cut(trees[method], count) for count in range(1, n_layers + 1)]
        else:
            found = [(clusters, None) for clusters in _without_tree(method, distances, seed)]
        for clusters, height in found:
            add(f"{method}-{len(clusters)}", method, clusters, height)
    for draw in range(1, draws) if "random" in controls else []:
        for count in range(2, n_layers):
            clusters = random_clusters(n_layers, count, seed + draw)
            add(f"random-{count}.{draw}", "random", clusters)
    add("per-layer", "per-layer", [(layer,) for layer in range(n_layers)])

    return {
        "n_layers": n_layers,
        "layers": list(layers),
        "distance": distance,
        "seed": seed,
        "order": list(partitions),
        "partitions": partitions,
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
