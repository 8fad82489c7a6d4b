"""K-means on how similar each layer is to all layers."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from clustersae.clustering.scores import Clusters, ordered
from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted

#: Restarts from different centres; layers are few, so that a good optimum is nearly certain.
N_INIT = 50


def kmeans_clusters(distances: np.ndarray, count: int, seed: int) -> Clusters:
    """Cluster layers by their profiles: rows of the similarity matrix 1 − D, of unit length.

    Euclidean distance between profiles is what k-means needs, and is not the distance between
    layers: two layers are close here if they relate alike to all the others.

    Raises:
        InputError: fewer than `count` layers have a profile of their own.
    """
    n_layers = len(distances)
    if count == n_layers:
        return [(layer,) for layer in range(n_layers)]
    profiles = 1.0 - distances
    profiles = profiles / np.linalg.norm(profiles, axis=1, keepdims=True)  # diagonal 1: never 0
    # Starting threads takes far longer than clustering a few dozen points.
    with (
        threadpool_limits(1),
        warnings.catch_warnings(category=ConvergenceWarning, action="ignore"),
    ):
        labels = KMeans(count, n_init=N_INIT, random_state=seed % 2**32).fit(profiles).labels_
    found = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    # Profiles may differ, and by so little that their squared distances are zero.
    if len(found) < count:
        raise InputError(
            f"k-means cannot make {count} clusters of {n_layers} layers with only"
            f" {counted(len(found), 'different profile')}. Leave kmeans out of arms.shared.methods."
        )
    return ordered(found)
