"""Clusters to count with, before the distances between layers are known."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from clustersae.experiment.clusters import cluster_name


def supposed_partitions(layers: Sequence[int], arms: Mapping[str, Any]) -> dict[str, Any]:
    """What partitions.json may say, as far as a price depends on it: runs of even length.

    Which layers share an SAE decides little of what it costs. Runs of different methods end at
    different layers, as those of a real run mostly do: SAEs of the same layers count once.

    Args:
        layers: that are studied.
        arms: the section of the configuration.
    """
    shared, controls = arms["shared"], arms["controls"]
    methods = list(dict.fromkeys([*shared["methods"], *controls["methods"]]))
    names = [(method, method) for method in methods]
    names += [("random", f".{draw}") for draw in range(1, controls["draws"])]
    partitions = {}
    for number, (method, name) in enumerate(names):
        for count in range(1, len(layers) + 1):
            full = f"{name}-{count}" if name == method else f"{method}-{count}{name}"
            partitions[full] = {"method": method, "clusters": _runs(layers, count, number)}
    for method, count in (("single", 1), ("per-layer", len(layers))):
        partitions[method] = {"method": method, "clusters": _runs(layers, count)}
    return {"n_layers": len(layers), "layers": list(layers), "partitions": partitions}


def _runs(layers: Sequence[int], count: int, shift: int = 0) -> list[str]:
    """`count` runs; all but the first begin `shift` layers later, where the last one allows it."""
    n_layers = len(layers)
    ends = [round(number * n_layers / count) for number in range(count + 1)]
    shift = min(shift, n_layers - ends[-2] - 1)
    ends[1:-1] = [end + shift for end in ends[1:-1]]
    return [cluster_name(layers[start:end]) for start, end in pairwise(ends)]
