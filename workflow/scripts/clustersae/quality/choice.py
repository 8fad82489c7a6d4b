"""How many SAEs the model needs, and how much training: the least that stays within a tolerance."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.experiment.clusters import layers_of
from clustersae.presentation.arms import select
from clustersae.runtime.errors import InputError


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


def mean_excess(reconstruction: pd.DataFrame, arm: Arm, against: Arm) -> float:
    """Mean FVU of `arm` over that of `against`, minus 1: seeds and then layers are averaged.

    Args:
        reconstruction: rows of one split, columns variant, cluster, seed, layer, fvu.
    """
    values = []
    for each in (arm, against):
        rows = select(reconstruction, each)
        if set(zip(rows["variant"], rows["cluster"])) != set(each.saes):
            raise InputError(f"An SAE of {each.name} has not been evaluated.")
        values.append(rows.groupby("layer")["fvu"].mean().mean())
    return float(values[0] / values[1] - 1)


def choose_specialised(
    excesses: Mapping[tuple[int, float], float], target: float
) -> tuple[int, float]:
    """The (number of shared SAEs, budget) of least budget whose excess FVU is at most `target`.

    Of several at that budget the best; where none is good enough, the best of all.
    """
    enough = {pair: excess for pair, excess in excesses.items() if excess <= target}
    least = min((budget for _, budget in enough), default=None)
    open_to = {pair: excess for pair, excess in enough.items() if pair[1] == least} or excesses
    return min(open_to, key=lambda pair: open_to[pair])


def _by_seed(by_sae: dict, variant: str, cluster: str, layer: int) -> pd.Series:
    try:
        return by_sae[variant, cluster].loc[layer]
    except KeyError:
        raise InputError(
            f"K cannot be chosen: the SAE of cluster {cluster} (variant {variant}) has no FVU on"
            f" layer {layer}."
        ) from None
