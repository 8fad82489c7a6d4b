import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_matrices import on_a_line, tie_free_matrices, tied_matrices
from scipy.cluster.hierarchy import ClusterWarning, fcluster
from scipy.cluster.hierarchy import linkage as scipy_linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import AgglomerativeClustering

from clustersae.clustering import linkage, scores

quickly = settings(deadline=None, max_examples=60)


def test_complete_linkage_by_hand_with_clusters_that_are_not_contiguous():
    steps = linkage.merges(on_a_line(0, 10, 1, 12, 4), "complete")
    assert linkage.cut(steps, 5) == ([(0,), (1,), (2,), (3,), (4,)], 0.0)
    assert linkage.cut(steps, 4) == ([(0, 2), (1,), (3,), (4,)], 1.0)
    assert linkage.cut(steps, 3) == ([(0, 2), (1, 3), (4,)], 2.0)
    assert linkage.cut(steps, 2) == ([(0, 2, 4), (1, 3)], 4.0)
    assert linkage.cut(steps, 1) == ([(0, 1, 2, 3, 4)], 12.0)


def test_average_linkage_by_hand_where_complete_differs():
    distances = on_a_line(0, 2, 5, 9.5)
    # {0, 1} and 2 are 5 and 3 apart: 4 on average, below the 4.5 from 2 to 3, but 5 at most.
    assert linkage.cut(linkage.merges(distances, "average"), 2) == ([(0, 1, 2), (3,)], 4.0)
    assert linkage.cut(linkage.merges(distances, "complete"), 2) == ([(0, 1), (2, 3)], 4.5)


@quickly
@given(tie_free_matrices, st.sampled_from(linkage.METHODS), st.data())
def test_linkage_agrees_with_scikit_learn_on_precomputed_distances(distances, method, data):
    count = data.draw(st.integers(1, len(distances)))
    labels = (
        AgglomerativeClustering(count, metric="precomputed", linkage=method).fit(distances).labels_
    )
    expected = scores.ordered([np.flatnonzero(labels == label) for label in range(count)])
    assert linkage.cut(linkage.merges(distances, method), count)[0] == expected


def test_the_matrix_is_not_taken_for_coordinates():
    # Layers 0 and 1 are nearest; the rows of layers 2 and 3 are.
    distances = squareform([0.1, 0.8, 0.8, 0.4, 0.4, 0.4])
    with pytest.warns(ClusterWarning):
        rows = AgglomerativeClustering(3, linkage="complete").fit(distances).labels_
    assert rows[0] != rows[1]
    assert linkage.cut(linkage.merges(distances, "complete"), 3)[0] == [(0, 1), (2,), (3,)]


@quickly
@given(tied_matrices, st.sampled_from(linkage.METHODS))
def test_ties_still_give_exactly_as_many_clusters_as_asked(distances, method):
    steps = linkage.merges(distances, method)
    for count in range(1, len(distances) + 1):
        clusters, _ = linkage.cut(steps, count)
        assert len(clusters) == count
        assert sorted(sum(clusters, ())) == list(range(len(distances)))


def test_cutting_at_a_height_would_not():
    equal = squareform(np.ones(6))
    assert len(set(fcluster(scipy_linkage(squareform(equal)), 2, "maxclust"))) == 1
    assert len(linkage.cut(linkage.merges(equal, "complete"), 2)[0]) == 2


@quickly
@given(tie_free_matrices, st.sampled_from(linkage.METHODS), st.randoms())
def test_relabelling_layers_relabels_clusters(distances, method, random):
    order = list(range(len(distances)))
    random.shuffle(order)
    moved = linkage.merges(distances[np.ix_(order, order)], method)
    plain = linkage.merges(distances, method)
    for count in range(1, len(distances) + 1):
        clusters, height = linkage.cut(moved, count)
        expected, expected_height = linkage.cut(plain, count)
        assert scores.ordered([[order[i] for i in cluster] for cluster in clusters]) == expected
        assert height == pytest.approx(expected_height)


@quickly
@given(tied_matrices, st.sampled_from(linkage.METHODS))
def test_all_partitions_of_a_hierarchy_share_few_clusters(distances, method):
    n_layers = len(distances)
    steps = linkage.merges(distances, method)
    names = {cluster for k in range(1, n_layers + 1) for cluster in linkage.cut(steps, k)[0]}
    assert len(names) == 2 * n_layers - 1


@quickly
@given(tie_free_matrices)
def test_complete_linkage_is_cut_at_the_largest_distance_within_its_clusters(distances):
    steps = linkage.merges(distances, "complete")
    for count in range(1, len(distances)):
        clusters, height = linkage.cut(steps, count)
        assert height == scores.max_distance(distances, clusters)
