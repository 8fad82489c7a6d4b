"""Gradients on the way from clean to corrupted, beside whole passes for every point."""

import pytest
import torch
from language_models import D_MODEL, FAMILIES, N_LAYERS, VOCAB_SIZE, save_tiny_model
from tiny_circuits import random_pairs

from clustersae.circuits.gradients import points_of
from clustersae.circuits.pairs import logit_difference
from clustersae.circuits.recording import record
from clustersae.models.anatomy import describe
from clustersae.models.residual import ResidualStream, load_model

N_TOKENS = 7


@pytest.fixture(scope="module", params=FAMILIES)
def stream(request, tmp_path_factory):
    folder = save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    description = describe(folder, "here")
    return ResidualStream(load_model(folder, description), description)


def whole_passes(stream, pairs, layer, steps):
    """Mean of ∂m/∂x over the middles of steps: all blocks, all logits, one point after another."""
    clean, corrupted = (stream.capture(tokens)[layer] for tokens in (pairs.clean, pairs.corrupted))
    total = torch.zeros_like(clean)
    for step in range(steps):
        x = (clean + (step + 0.5) / steps * (corrupted - clean)).requires_grad_()
        with torch.enable_grad(), stream.replaced({layer: lambda _, x=x: x}):
            logits = stream.model(input_ids=pairs.clean, use_cache=False).logits
            total += torch.autograd.grad(logit_difference(logits, pairs).sum(), x)[0]
    return total / steps


def close(found, expected):
    """To 1e-6 of the largest gradient: float32 has no more when sums come in another order."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("max_entries", [2**26, 50_000])
def test_gradients_from_the_layer_on_are_those_of_whole_passes(stream, max_entries):
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    recording = record(stream, pairs, steps=4, max_entries=max_entries)
    for layer in range(N_LAYERS):
        close(recording.gradients[layer], whole_passes(stream, pairs, layer, 4))


def test_what_cannot_be_restarted_has_the_same_gradients(stream, monkeypatch):
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    restarted = record(stream, pairs, steps=3)
    monkeypatch.setattr(stream, "restartable", False)
    whole = record(stream, pairs, steps=3)
    for layer in range(N_LAYERS):
        close(restarted.gradients[layer], whole.gradients[layer])


@pytest.mark.parametrize("method", ["attribution", "integrated", "gauss"])
def test_some_layers_are_recorded_as_if_all_were(stream, method):
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    full, some = (record(stream, pairs, method, layers=layers) for layers in (None, (1, 2)))
    assert list(full.clean) == [0, 1, 2]
    assert list(some.clean) == list(some.corrupted) == list(some.gradients) == [1, 2]
    for layer in (1, 2):
        close(some.gradients[layer], full.gradients[layer])
        assert torch.equal(some.clean[layer], full.clean[layer])
        assert torch.equal(some.corrupted[layer], full.corrupted[layer])
    assert torch.equal(some.clean_metric, full.clean_metric)


def test_a_block_before_the_layer_is_not_run(stream):
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    rows = [0] * N_LAYERS
    handles = []
    for index, block in enumerate(stream.blocks):

        def count(module, inputs, output, index=index):
            rows[index] += len(output[0] if isinstance(output, tuple) else output)

        handles.append(next(block.children()).register_forward_hook(count))
    try:
        record(stream, pairs, steps=4)
    finally:
        for handle in handles:
            handle.remove()
    of_points = 4 * len(pairs.clean)
    # Clean and corrupted, and the points of every layer below.
    assert rows == [10, 10 + of_points, 10 + 2 * of_points]


def test_few_points_of_gauss_do_what_many_steps_do(stream):
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    truth = record(stream, pairs, "gauss", steps=40).gradients
    away = {
        (method, steps): max(
            float((found - truth[layer]).abs().max() / truth[layer].abs().max())
            for layer, found in record(stream, pairs, method, steps=steps).gradients.items()
        )
        for method, steps in (("gauss", 6), ("integrated", 6))
    }
    assert away["gauss", 6] < away["integrated", 6]


def test_points_and_their_weights():
    places, weights = points_of("integrated", 4)
    assert (places, weights) == ([0.125, 0.375, 0.625, 0.875], [0.25] * 4)
    places, weights = (torch.tensor(each) for each in points_of("gauss", 3))
    for power in range(6):  # exact up to degree 5
        assert float(weights @ places**power) == pytest.approx(1 / (power + 1), abs=1e-6)


def test_the_last_layer_has_no_block_after_it(stream):
    """Its gradient is that of the unembedding, wherever on the way."""
    pairs = random_pairs(3, N_TOKENS, VOCAB_SIZE, first=1)
    found = record(stream, pairs, layers=[N_LAYERS - 1]).gradients[N_LAYERS - 1]
    assert found.shape == (3, N_TOKENS, D_MODEL)
    assert (found[:, :-1] == 0).all()
    assert (found[:, -1] != 0).any()
