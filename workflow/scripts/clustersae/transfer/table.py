"""Distances between layers beside what SAEs lose between them, and partitions made from either.

Layers that differ in distance differ in loss as well if the distance is worth clustering by. Loss
of a pair is the mean of both directions; ranks are compared by Spearman's correlation per seed,
with Student's t over the seeds.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from clustersae.clustering import linkage
from clustersae.clustering.controls import even_clusters
from clustersae.clustering.scores import Clusters, weighted_mean_distance
from clustersae.experiment.clusters import cluster_name
from clustersae.presentation.tables import Format
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import over_seeds

#: Rows of `evaluation/transfer.csv` and of `clusters/distances.csv`.
TRANSFER = Format(("variant", "seed", "source", "target"), ("n_tokens", "fvu"))
DISTANCES = Format(("distance", "layer_i", "layer_j"), ("value",))

#: The yardstick among distances: the loss itself.
LOSS = "transfer"
#: Fewer pairs of layers have no order worth a number.
FEWEST_PAIRS = 3


def pairs_table(transfer: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """One row per seed and pair of layers: `excess` (mean of both directions), and every distance.

    Raises:
        InputError: a pair of layers lacks a distance.
    """
    own = transfer[transfer["source"] == transfer["target"]].set_index(["seed", "target"])["fvu"]
    rows = transfer[transfer["source"] != transfer["target"]].copy()
    alone = own.loc[pd.MultiIndex.from_frame(rows[["seed", "target"]])].to_numpy()
    rows["excess"] = rows["fvu"] / alone - 1
    rows["layer_i"] = rows[["source", "target"]].min(axis=1)
    rows["layer_j"] = rows[["source", "target"]].max(axis=1)
    key = ["variant", "seed", "layer_i", "layer_j"]
    pairs = rows.groupby(key, as_index=False)["excess"].mean()
    wide = distances.pivot(index=["layer_i", "layer_j"], columns="distance", values="value")
    merged = pairs.merge(wide.reset_index(), on=["layer_i", "layer_j"], how="left")
    if merged[list(wide.columns)].isna().any(axis=None):
        raise InputError("The distances lack some of the pairs of layers that have SAEs.")
    return merged


def similarity_table(pairs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Spearman's correlation of each distance with the excess, and its interval over seeds.

    Empty where there are too few pairs to rank.
    """
    columns = [*("distance", "n_pairs", "n_seeds", "rank_correlation")]
    columns += ["rank_correlation_low", "rank_correlation_high"]
    rows = []
    few = len(pairs) < FEWEST_PAIRS * max(1, pairs["seed"].nunique())
    for name in [] if few else names:
        values = np.array(
            [
                stats.spearmanr(each[name], each["excess"]).statistic
                for _, each in pairs.groupby("seed")
            ]
        )
        estimate, low, high = over_seeds(values).interval()
        rows.append(
            {
                "distance": name,
                "n_pairs": len(pairs) // len(values),
                "n_seeds": len(values),
                "rank_correlation": estimate,
                "rank_correlation_low": np.maximum(-1.0, low),
                "rank_correlation_high": np.minimum(1.0, high),
            }
        )
    return pd.DataFrame(rows, columns=columns)


def partitions_table(pairs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Complete linkage by each distance, by the loss itself, and even runs, for every K.

    `mean_excess` is what the average layer loses with the SAE of another layer of its cluster,
    mean over seeds; the partition by the loss shows how low that can be made so.
    """
    layers = sorted({*pairs["layer_i"], *pairs["layer_j"]})
    excess = _matrix(pairs.groupby(["layer_i", "layer_j"])["excess"].mean(), layers)
    first = pairs.drop_duplicates(["layer_i", "layer_j"]).set_index(["layer_i", "layer_j"])
    matrices = {name: _matrix(first[name], layers) for name in names}
    # An SAE may do better elsewhere than at home; a distance cannot be negative.
    matrices[LOSS] = excess.clip(min=0)
    rows = []
    for count in range(1, len(layers)):
        found: Mapping[str, Clusters] = {
            **{name: linkage.cut(_merges(matrix), count)[0] for name, matrix in matrices.items()},
            "even": even_clusters(len(layers), count),
        }
        for name, clusters in found.items():
            rows.append(
                {
                    "distance": name,
                    "count": count,
                    "mean_excess": weighted_mean_distance(excess, clusters),
                    "clusters": " ".join(
                        cluster_name(layers[place] for place in cluster) for cluster in clusters
                    ),
                }
            )
    return pd.DataFrame(rows, columns=["distance", "count", "mean_excess", "clusters"])


def _merges(matrix: np.ndarray) -> list[linkage.Merge]:
    return linkage.merges(matrix, "complete")


def _matrix(values: pd.Series, layers: list[int]) -> np.ndarray:
    """Symmetric [n_layers, n_layers] from values by (layer_i, layer_j), i < j."""
    matrix = np.zeros((len(layers), len(layers)))
    for (i, j), value in values.items():
        place = layers.index(i), layers.index(j)
        matrix[place] = matrix[place[::-1]] = value
    return matrix
