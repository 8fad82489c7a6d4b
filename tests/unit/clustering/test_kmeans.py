from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_matrices import on_a_line, random_matrix, tie_free_matrices
from sklearn.cluster import KMeans

from clustersae.clustering.kmeans import kmeans_clusters
from clustersae.runtime.errors import InputError


def test_kmeans_finds_groups_that_are_not_contiguous():
    group = np.array([0, 1, 0, 2, 1, 2, 0])
    distances = np.where(group[:, None] == group, 0.1, 0.6)
    np.fill_diagonal(distances, 0)
    assert kmeans_clusters(distances, 3, seed=0) == [(0, 2, 6), (1, 4), (3, 5)]


@settings(deadline=None, max_examples=15)
@given(tie_free_matrices, st.data())
def test_kmeans_gives_exactly_as_many_clusters_as_asked(distances, data):
    count = data.draw(st.integers(1, len(distances)))
    clusters = kmeans_clusters(distances, count, seed=3)
    assert len(clusters) == count
    assert sorted(sum(clusters, ())) == list(range(len(distances)))


def test_the_seed_decides_between_local_optima():
    distances = random_matrix(40, seed=0)
    found = [kmeans_clusters(distances, 12, seed) for seed in range(3)]
    assert found == [kmeans_clusters(distances, 12, seed) for seed in range(3)]
    assert found[0] != found[1] != found[2]


def test_kmeans_refuses_more_clusters_than_different_layers():
    distances = on_a_line(0, 0, 0, 0.5)
    with pytest.raises(InputError, match="3 clusters of 4 layers with only 2 different profiles"):
        kmeans_clusters(distances, 3, seed=0)
    assert kmeans_clusters(distances, 4, seed=0) == [(0,), (1,), (2,), (3,)]


def test_what_is_clustered_are_similarities_to_all_layers_of_unit_length():
    distances = random_matrix(12, seed=1)
    profiles = [row / np.sqrt((row**2).sum()) for row in 1 - distances]
    labels = KMeans(4, n_init=50, random_state=7).fit_predict(profiles)
    expected = {tuple(np.flatnonzero(labels == label)) for label in range(4)}
    assert set(kmeans_clusters(distances, 4, seed=7)) == expected


@pytest.mark.parametrize("apart", np.geomspace(1e-13, 1e-8, 11))
def test_kmeans_makes_no_empty_cluster_of_layers_that_differ_by_rounding_alone(apart):
    """Blocks that add next to nothing: profiles differ, and squared distances may all be zero."""
    with suppress(InputError):  # that there are fewer profiles
        clusters = kmeans_clusters(on_a_line(0, apart, 2 * apart, 0.5), 3, seed=0)
        assert len(clusters) == 3
        assert all(clusters)
