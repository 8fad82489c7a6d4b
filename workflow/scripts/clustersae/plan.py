"""Which partitions and which SAEs an experiment asks for.

Imported by the Snakefile as well as by scripts, so it needs the standard library alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from clustersae.clusters import parse_cluster
from clustersae.errors import InputError
from clustersae.sae.variants import pilot_variant

#: (variant, cluster) or (variant, partition).
Pair = tuple[str, str]


def partition_name(method: str, count: int, n_layers: int) -> str:
    """The name of a method's partition; all methods agree on K = 1 and K = L."""
    if not 1 <= count <= n_layers:
        raise InputError(
            f"The configuration asks for {count} clusters, but the model has {n_layers} layers:"
            f" use counts from 1 to {n_layers}."
        )
    if count == n_layers:
        return "per-layer"
    return "single" if count == 1 else f"{method}-{count}"


def requested_partitions(
    description: Mapping[str, Any], clustering: Mapping[str, Any], chosen: int | None = None
) -> list[str]:
    """Names of the partitions to train and compare, per-layer first, none twice.

    Args:
        description: the content of partitions.json.
        clustering: that section of the configuration.
        chosen: the number of clusters that `counts: auto` has settled on.
    """
    n_layers = description["n_layers"]
    counts = [chosen] if clustering["counts"] == "auto" else clustering["counts"]
    control_counts = clustering["control_counts"] or counts
    names = ["per-layer"]
    names += [partition_name(m, k, n_layers) for m in clustering["methods"] for k in counts]
    names += [
        partition_name(m, k, n_layers)
        for m in clustering["controls"]
        for k in control_counts
        if k > 1
    ]
    return list(dict.fromkeys(names))


def pilot_saes(description: Mapping[str, Any], clustering: Mapping[str, Any]) -> list[Pair]:
    """(variant, cluster) of the short trainings of `counts: auto`: the main method, at every K."""
    n_layers, method = description["n_layers"], clustering["methods"][0]
    names = [partition_name(method, count, n_layers) for count in range(1, n_layers + 1)]
    variant = pilot_variant(clustering["pilot_fraction"])
    return [(variant, cluster) for cluster in _clusters(description, names)]


def requested_saes(
    description: Mapping[str, Any],
    clustering: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    chosen: int | None = None,
) -> list[Pair]:
    """(variant, cluster) of every SAE to train and evaluate, none twice."""
    names = requested_partitions(description, clustering, chosen)
    pairs = [("base", cluster) for cluster in _clusters(description, names)]
    for variant, partition in _variant_arms(description, clustering, evaluation):
        pairs += saes_of(description, variant, partition)
    return list(dict.fromkeys(pairs))


def requested_splices(
    description: Mapping[str, Any],
    clustering: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    chosen: int | None = None,
) -> list[Pair]:
    """(variant, partition) of every set of SAEs to splice in at all layers at once."""
    names = requested_partitions(description, clustering, chosen)
    arms = [("base", name) for name in names]
    return list(dict.fromkeys(arms + _variant_arms(description, clustering, evaluation)))


def saes_of(description: Mapping[str, Any], variant: str, partition: str) -> list[Pair]:
    """(variant, cluster) of the SAEs that make up one arm.

    Equal exposure multiplies the activations by the number of layers, so the SAE of a single
    layer is the base one.
    """
    clusters = description["partitions"][partition]["clusters"]
    if variant != "equal-exposure":
        return [(variant, cluster) for cluster in clusters]
    return [
        (variant if len(parse_cluster(cluster)) > 1 else "base", cluster) for cluster in clusters
    ]


def _variant_arms(
    description: Mapping[str, Any], clustering: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> list[Pair]:
    n_layers, method = description["n_layers"], clustering["methods"][0]
    arms = []
    for count in evaluation["equal_compute"]:
        if count < n_layers:
            arms += [
                (f"fewer-tokens-{count}of{n_layers}", "per-layer"),
                (f"narrower-{count}of{n_layers}", "per-layer"),
            ]
    for count in evaluation["equal_exposure"]:
        if count < n_layers:
            arms.append(("equal-exposure", partition_name(method, count, n_layers)))
    return arms


def _clusters(description: Mapping[str, Any], partitions: Sequence[str]) -> list[str]:
    found = (c for name in partitions for c in description["partitions"][name]["clusters"])
    return list(dict.fromkeys(found))
