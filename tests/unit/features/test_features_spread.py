"""Spread over layers: worked by hand, at its limits, and whatever the order of tokens."""

import numpy as np
import pytest
from scipy import sparse
from tiny_texts import random_activations, sparse_activations

from clustersae.features import spread as module
from clustersae.features.spread import latent_table, layer_spread, layer_table


def test_equal_activity_on_two_of_four_layers():
    # Latent 0: 2 + 1 on layer 3, 3 on layer 5. Latent 1 is dead. Latent 2: layer 4 alone.
    layers = {
        3: [[2, 0, 0], [1, 0, 0]],
        4: [[0, 0, 5], [0, 0, 0]],
        5: [[0, 0, 0], [3, 0, 0]],
        9: [[0, 0, 0], [0, 0, 0]],
    }
    found = layer_spread({layer: sparse_activations(z) for layer, z in layers.items()})
    assert found.entropy[0] == pytest.approx(np.log(2))
    table = latent_table(found)
    assert table["effective_layers"][[0, 2]].tolist() == pytest.approx([2, 1])
    assert table["over_token_variance"][[0, 2]].tolist() == pytest.approx([1, 0])
    assert table.loc[1, ["entropy", "effective_layers", "over_token_variance"]].isna().all()
    assert np.isnan(table["within_token_variance"][1])
    # Token 0: all on layer 3, variance 0. Token 1: 1/4 on 3 and 3/4 on 5: 4 · 1/4 · 3/4.
    assert table["within_token_variance"][0] == pytest.approx((0 + 0.75) / 2)
    # Fires at 2 of 2, 0, 1 of 2 and 0 tokens of the four layers.
    assert table["firing_rate"].tolist() == pytest.approx([3 / 8, 0, 1 / 8])
    rows = layer_table(found).set_index(["latent", "layer"])
    assert rows.loc[(0, 3)].tolist() == pytest.approx([0.5, 1, 1.5])
    assert rows.loc[(0, 5)].tolist() == pytest.approx([0.5, 0.5, 3])
    assert rows.loc[(0, 9), ["p_layer", "firing_rate"]].tolist() == [0, 0]
    assert np.isnan(rows.loc[(0, 9), "mean_activation"])
    assert rows.loc[(1, 3), ["p_layer"]].isna().all()


def test_a_single_layer_has_no_variance():
    table = latent_table(layer_spread({2: sparse_activations([[1, 0], [2, 0]])}))
    assert table["n_layers"].tolist() == [1, 1]
    assert table["effective_layers"][0] == 1
    assert np.isnan(table["effective_layers"][1])
    assert table[["within_token_variance", "over_token_variance"]].isna().all(axis=None)


def test_uniform_activity_is_spread_as_far_as_can_be():
    z = random_activations(50, 6)
    table = latent_table(layer_spread(dict.fromkeys((0, 1, 2, 3), z)))
    assert table["effective_layers"].to_numpy() == pytest.approx(np.full(6, 4.0))
    # Of 0, 1, 2, 3: (1.5² + 0.5²) / 2, within every token as over all.
    assert table["within_token_variance"].to_numpy() == pytest.approx(np.full(6, 1.25))
    assert table["over_token_variance"].to_numpy() == pytest.approx(np.full(6, 1.25))


def slow_within_token_variance(layers, dense):
    """Token by token, as the definition says; dense [n_layers, n_tokens]."""
    variances = []
    for z in dense.T:
        if z.sum():
            p = z / z.sum()
            variances.append((p * layers**2).sum() - (p * layers).sum() ** 2)
    return np.mean(variances)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_within_token_variance_is_that_of_a_slow_reference(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_TOKENS", chunk)
    layers = np.array([0, 2, 3])
    z = {layer: random_activations(40, 5, seed=layer) for layer in layers.tolist()}
    found = layer_spread(z).within_token_variance
    dense = np.stack([each.toarray() for each in z.values()]).astype(float)
    for latent in range(5):
        expected = slow_within_token_variance(layers, dense[:, :, latent])
        assert found[latent] == pytest.approx(expected)


def test_neither_the_order_of_tokens_nor_a_shift_of_layers_matters():
    z = {layer: random_activations(40, 5, seed=layer) for layer in (0, 1, 4)}
    order = np.random.default_rng(0).permutation(40)
    shuffled = {layer + 10: sparse.csr_array(each[order]) for layer, each in z.items()}
    table, other = latent_table(layer_spread(z)), latent_table(layer_spread(shuffled))
    assert np.allclose(table, other)
