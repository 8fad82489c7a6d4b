import numpy as np
from layer_matrices import on_a_line

from clustersae.clustering import scores
from clustersae.clustering.controls import even_clusters


def test_scores_by_hand():
    distances = on_a_line(0, 1, 3, 10, 14)
    clusters = [(0, 1, 2), (3, 4)]
    assert scores.amad(distances, clusters) == (3 + 4) / 2
    assert scores.max_distance(distances, clusters) == 4
    assert scores.weighted_mean_distance(distances, clusters) == (3 * 2 + 2 * 4) / 5
    alone = [(layer,) for layer in range(5)]
    for score in (scores.amad, scores.max_distance, scores.weighted_mean_distance):
        assert score(distances, alone) == 0


def test_amad_prefers_one_huge_cluster_among_singletons():
    # Distances that level off with the gap between layers, as angles in real models do.
    gap = abs(np.subtract.outer(np.arange(12), np.arange(12)))
    distances = 1 - 0.5**gap
    huge, even = [(0,), (1,), (2,), tuple(range(3, 12))], even_clusters(12, 4)
    assert scores.amad(distances, huge) < scores.amad(distances, even) / 2
    for score in (scores.weighted_mean_distance, scores.max_distance):
        assert score(distances, even) < score(distances, huge)
