"""What each arm keeps of each layer, and the arrays [n_layers, n_seeds] that statistics need."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.presentation.arms import arm_columns, select
from clustersae.runtime.errors import InputError

KEY = ["variant", "cluster", "seed", "layer"]
#: Columns measured with one layer spliced into the model, on the test split only.
SPLICE = ["ce_clean", "ce_spliced", "delta_ce", "ce_recovered_zero", "ce_recovered_mean", "kl"]
RECONSTRUCTION = [
    *("n_tokens", "fvu", "fvu_all_tokens", "fvu_standardised", "mse", "cosine", "l0"),
    *("dead_fraction", "ultra_low_density_fraction", "n_tokens_dead"),
]


def layer_quality(
    arms: Sequence[Arm], reconstruction: pd.DataFrame, splice: pd.DataFrame
) -> pd.DataFrame:
    """One row per arm, layer, seed and split; the splice columns are filled on the test split.

    An SAE that several arms share is repeated in each of them; `sae_variant` and `cluster` name it.
    """
    # An SAE of several arms is measured once with each.
    splice = splice.drop_duplicates(KEY)[[*KEY, *SPLICE]].assign(split="test")
    joined = reconstruction.merge(splice, on=[*KEY, "split"], how="left", validate="1:1")
    parts = []
    for arm in arms:
        own = select(joined, arm)
        # `variant` is the arm's; its SAEs may have others, such as those borrowed from `base`.
        own = own.rename(columns={"variant": "sae_variant"})
        parts.append(own.assign(**arm_columns(arm)))
    names = [*arm_columns(arms[0]), "sae_variant", "cluster", "layer", "seed", "split"]
    table = pd.concat(parts, ignore_index=True)[[*names, *RECONSTRUCTION, *SPLICE]]
    order = pd.Categorical(table["arm"], [arm.name for arm in arms], ordered=True)
    return (
        table.assign(order=order)
        .sort_values(["order", "split", "layer", "seed"], ignore_index=True)
        .drop(columns="order")
    )


def seeds_of(frame: pd.DataFrame) -> list[int]:
    """Seeds that every layer of an arm has, ascending."""
    common = set.intersection(*(set(group) for _, group in frame.groupby("layer")["seed"]))
    return sorted(int(seed) for seed in common)


def array(
    frame: pd.DataFrame, column: str, layers: Sequence[int], seeds: Sequence[int]
) -> np.ndarray:
    """`column` of one arm and split as `[n_layers, n_seeds]`.

    Raises:
        InputError: a layer lacks a seed, so that arms would be compared on different layers.
    """
    places = [
        pd.Index(list(wanted)).get_indexer(frame[name])
        for name, wanted in (("layer", layers), ("seed", seeds))
    ]
    found = np.full((len(layers), len(seeds)), np.nan)
    asked = (places[0] >= 0) & (places[1] >= 0)
    found[places[0][asked], places[1][asked]] = frame[column].to_numpy(np.float64)[asked]
    if np.isnan(found).any():
        layer, seed = np.argwhere(np.isnan(found))[0]
        raise InputError(
            f"{frame['arm'].iloc[0]} has no {column} for layer {layers[layer]}, seed {seeds[seed]}."
        )
    return found
