"""Samples of pairs of layers: every distance has its share, and sums have no bias."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from clustersae.latents.layer_pairs import MOST_PAIRS, layer_pairs


@pytest.mark.parametrize("n_layers", [1, 2, 12, 16])
def test_few_layers_are_all_compared_and_nothing_is_drawn(n_layers):
    generator = np.random.default_rng(0)
    pairs = layer_pairs(range(n_layers), generator)
    assert list(pairs) == list(combinations(range(n_layers), 2))
    assert set(pairs.values()) <= {1.0}
    assert generator.random() == np.random.default_rng(0).random()


def test_every_distance_gives_as_many_pairs():
    pairs = layer_pairs(range(40), np.random.default_rng(0))
    assert len(pairs) == MOST_PAIRS == 120
    assert list(pairs) == sorted(pairs)
    taken = Counter(b - a for a, b in pairs)
    # Three of each that has them: 114. The other six go to the shortest.
    assert [taken[distance] for distance in range(1, 40)] == [4] * 6 + [3] * 31 + [2, 1]
    for distance in range(1, 40):
        weights = [weight for (a, b), weight in pairs.items() if b - a == distance]
        assert sum(weights) == pytest.approx(40 - distance)


def test_a_model_of_more_distances_than_pairs_has_one_of_each():
    pairs = layer_pairs(range(130), np.random.default_rng(0))
    assert sorted(b - a for a, b in pairs) == list(range(1, 130))


def test_sums_with_the_weights_have_no_bias():
    """Every pair stands in as many samples as the others of its distance."""
    layers, n_draws = [0, 1, 2, 4, 7, 8, 9], 4000
    generator = np.random.default_rng(0)
    total: Counter[tuple[int, int]] = Counter()
    for _ in range(n_draws):
        total.update(layer_pairs(layers, generator, 12))
    sizes = Counter(b - a for a, b in combinations(layers, 2))
    for a, b in combinations(layers, 2):
        # A weight of at most w has a variance of at most w − 1.
        error = np.sqrt((sizes[b - a] - 1) / n_draws)
        assert abs(total[a, b] / n_draws - 1) <= 4 * error
