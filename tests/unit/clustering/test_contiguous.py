from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_matrices import on_a_line, tie_free_matrices, tied_matrices

from clustersae.clustering import scores
from clustersae.clustering.contiguous import contiguous_partitions
from clustersae.clustering.runs import runs_between


@settings(deadline=None, max_examples=60)
@given(st.one_of(tie_free_matrices, tied_matrices))
def test_contiguous_is_the_best_of_all_contiguous_partitions(distances):
    n_layers = len(distances)
    optima = contiguous_partitions(distances)
    assert len(optima) == n_layers
    for count, optimum in enumerate(optima, start=1):
        every = [
            runs_between(cuts, n_layers) for cuts in combinations(range(1, n_layers), count - 1)
        ]
        assert optimum in every
        best = min(scores.total_sharing(distances, clusters) for clusters in every)
        assert scores.total_sharing(distances, optimum) == pytest.approx(best, abs=1e-12)


def test_contiguous_keeps_to_intervals_where_linkage_does_not():
    distances = on_a_line(0, 10, 1, 12, 4)
    assert contiguous_partitions(distances)[1] == [(0,), (1, 2, 3, 4)]
    assert contiguous_partitions(distances)[3] == [(0,), (1,), (2,), (3, 4)]


def test_of_equally_good_contiguous_partitions_the_earliest_cut_is_taken():
    # 0-1 | 2-4 and 0-2 | 3-4 both cost 1 + 2 · 4/3.
    assert contiguous_partitions(on_a_line(0, 1, 2, 3, 4))[1] == [(0, 1), (2, 3, 4)]


def test_single_layers_are_not_cut_off_for_free():
    """Evenly spaced layers are halved; weighted by |g|, one end alone would cost as little."""
    assert contiguous_partitions(on_a_line(0, 1, 2, 3))[1] == [(0, 1), (2, 3)]
