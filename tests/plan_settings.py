"""What plans are made from: partitions into nested clusters, and settings that ask for little."""

from collections.abc import Sequence
from typing import Any

from clustersae.experiment.arms import partition_name
from clustersae.experiment.clusters import cluster_name


def nested(n_layers: int, count: int) -> list[str]:
    """Contiguous clusters made by halving the first of the largest: those of K refine K - 1."""
    clusters = [tuple(range(n_layers))]
    while len(clusters) < count:
        whole = max(clusters, key=len)
        place, half = clusters.index(whole), len(whole) // 2
        clusters[place : place + 1] = [whole[:half], whole[half:]]
    return [cluster_name(layers) for layers in clusters]


def description(n_layers: int, *methods: str) -> dict[str, Any]:
    """As partitions.json: those clusters for every number and method."""
    partitions = {
        partition_name(method, count, n_layers): {
            "method": method,
            "clusters": nested(n_layers, count),
        }
        for method in methods
        for count in range(1, n_layers + 1)
    }
    return {"n_layers": n_layers, "partitions": partitions}


def plan_settings(seeds: Sequence[int] = (0,), **arms: Any) -> dict[str, Any]:
    """The sections `arms` and `sae`; the former asks for full per-layer SAEs and for `arms`."""
    nothing = {
        **{"per_layer": [1], "narrower": [], "equal_exposure": [], "specialised": [], "mlsae": []},
        "shared": {"counts": [], "methods": ["complete"]},
        "transfer": {"directions": ["forwards", "backwards"], "budgets": []},
        "crosscoder": {"counts": [1], "budgets": []},
        "controls": {"methods": [], "counts": [], "draws": 1},
        **{"auto": [], "pilot_fraction": 0.1},
    }
    sae = {
        **{"seeds": [*seeds], "training_tokens": 100_000, "batch_size": 128, "min_steps": 0},
        "specialise": {"shared_fraction": 0.5, "learning_rate": None},
    }
    return {"arms": nothing | arms, "sae": sae}
