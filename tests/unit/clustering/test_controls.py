from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.clustering.controls import even_clusters, random_clusters


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_even_runs_differ_by_at_most_one_layer(n_layers, data):
    count = data.draw(st.integers(1, n_layers))
    clusters = even_clusters(n_layers, count)
    assert [layer for cluster in clusters for layer in cluster] == list(range(n_layers))
    sizes = [len(cluster) for cluster in clusters]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32), st.data())
def test_random_runs_cover_the_layers_and_repeat(n_layers, seed, data):
    count = data.draw(st.integers(1, n_layers))
    clusters = random_clusters(n_layers, count, seed)
    assert [layer for cluster in clusters for layer in cluster] == list(range(n_layers))
    assert len(clusters) == count
    assert all(clusters)
    assert clusters == random_clusters(n_layers, count, seed)


def test_random_cuts_are_uniform():
    drawn = Counter(tuple(random_clusters(5, 3, seed)) for seed in range(3000))
    assert len(drawn) == 6  # every choice of two cuts among four places
    chi_square = sum((n - 500) ** 2 / 500 for n in drawn.values())
    assert chi_square < 20.5  # the 0.1 % point for 5 degrees of freedom; the seeds are fixed


def test_random_runs_are_the_same_on_every_machine():
    assert random_clusters(12, 4, seed=0) == [(0, 1, 2, 3), (4,), (5, 6, 7, 8, 9), (10, 11)]
