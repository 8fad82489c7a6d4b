"""How many SAEs the model needs: the smallest K whose worst layer stays within a tolerance."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from clustersae.clusters import layers_of
from clustersae.errors import InputError


def worst_excess(
    reconstruction: pd.DataFrame, clusters: Sequence[str], variant: str = "base"
) -> float:
    """Largest relative excess FVU of a layer over the per-layer SAE of that layer.

    Seeds are averaged first: max over layers of mean_s FVU(cluster SAE) / mean_s FVU(per-layer
    SAE) - 1, over the seeds that both have. Layers whose cluster is a singleton contribute 0.

    Args:
        reconstruction: rows of one split, columns variant, cluster, seed, layer, fvu.
        clusters: names of the partition's clusters.
        variant: of the cluster SAEs; the per-layer SAEs are always `base`.
    """
    by_sae = {
        key: group.set_index(["layer", "seed"])["fvu"]
        for key, group in reconstruction.groupby(["variant", "cluster"])
    }
    excesses = []
    for cluster in clusters:
        for layer in layers_of(cluster):
            shared = _by_seed(by_sae, variant, cluster, layer)
            alone = _by_seed(by_sae, "base", str(layer), layer)
            seeds = shared.index.intersection(alone.index)
            if not len(seeds):
                raise InputError(
                    f"The SAEs of clusters {cluster} and {layer} have no seed in common."
                )
            excesses.append(shared[seeds].mean() / alone[seeds].mean() - 1)
    return float(np.max(excesses))


def choose_count(
    reconstruction: pd.DataFrame, partitions: Mapping[int, Sequence[str]], tolerance: float
) -> int:
    """The smallest K whose worst layer costs at most `tolerance` in relative FVU.

    Choose on the validation split and report on the test split: a K picked on the numbers it is
    reported with looks better than it is.

    Args:
        reconstruction: validation rows of `evaluation/reconstruction/base/*.csv`.
        partitions: clusters of the main method for each K that was trained.
        tolerance: largest relative excess allowed, 0.1 for 10 %.

    Returns:
        A K of `partitions`, or the number of layers if none is within the tolerance.

    Raises:
        InputError: rows of more than one split were given, or an SAE is missing.
    """
    splits = set(reconstruction["split"])
    if len(splits) > 1:
        raise InputError(
            f"Choose K on one split (validation), not on {' and '.join(sorted(splits))}."
        )
    for count in sorted(partitions):
        if worst_excess(reconstruction, partitions[count]) <= tolerance:
            return count
    return sum(len(layers_of(name)) for name in next(iter(partitions.values())))


def _by_seed(by_sae: dict, variant: str, cluster: str, layer: int) -> pd.Series:
    try:
        return by_sae[variant, cluster].loc[layer]
    except KeyError:
        raise InputError(
            f"K cannot be chosen: the SAE of cluster {cluster} (variant {variant}) has no FVU on"
            f" layer {layer}."
        ) from None
