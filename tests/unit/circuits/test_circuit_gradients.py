"""Gradients on the way from clean to corrupted, beside whole passes for every point."""

import pytest
import torch
from language_models import D_MODEL, N_LAYERS, VOCAB_SIZE, tiny_stream
from tiny_circuits import random_pairs

from clustersae.circuits.attribution import attributed_effects
from clustersae.circuits.dictionaries import residual_basis
from clustersae.circuits.pairs import logit_difference
from clustersae.circuits.prefix import shared_prefix
from clustersae.circuits.recording import record

N_TOKENS = 7


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
        expected = whole_passes(stream, pairs, layer, 4)
        # The first token is in both prompts.
        assert (recording.gradients[layer][:, 0] == 0).all()
        close(recording.gradients[layer][:, 1:], expected[:, 1:])


def late_pairs(shared):
    """Pairs that differ from the token `shared` on."""
    pairs = random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1)
    corrupted = torch.cat([pairs.clean[:, :shared], pairs.corrupted[:, shared:]], 1)
    corrupted[0, shared] = (pairs.clean[0, shared] + 1) % VOCAB_SIZE
    return pairs._replace(corrupted=corrupted)


@pytest.mark.parametrize("shared", [1, 4, N_TOKENS - 1])
@pytest.mark.parametrize("max_entries", [2**26, 50_000])
def test_what_cannot_be_restarted_has_the_same_gradients(stream, monkeypatch, shared, max_entries):
    pairs = late_pairs(shared)
    restarted = record(stream, pairs, steps=3, max_entries=max_entries)
    monkeypatch.setattr(stream, "restartable", False)
    whole = record(stream, pairs, steps=3)
    for layer in range(N_LAYERS):
        assert (whole.gradients[layer][:, 1] != 0).any() == (layer < N_LAYERS - 1)
        close(restarted.gradients[layer][:, shared:], whole.gradients[layer][:, shared:])
        assert (restarted.gradients[layer][:, :shared] == 0).all()
    basis = residual_basis(range(N_LAYERS), D_MODEL)
    effects = [attributed_effects(stream, basis, [each]) for each in (restarted, whole)]
    close(*effects)


def test_a_model_that_goes_on_in_another_way_runs_whole_prompts(stream, monkeypatch):
    pairs = late_pairs(4)
    whole = record(stream, pairs, steps=2)
    known = stream.forward
    monkeypatch.setattr(stream, "forward", lambda tokens, past=None: known(tokens))  # forgets
    found = record(stream, pairs, steps=2)
    for layer in range(N_LAYERS):
        close(found.gradients[layer][:, 4:], whole.gradients[layer][:, 4:])
    assert (found.gradients[0][:, 1:4] != 0).any()


@pytest.mark.parametrize(
    ("dtype", "off", "is_used"),
    [
        (torch.float32, 0.0, True),
        (torch.float32, 0.01, False),
        (torch.bfloat16, 0.0, True),
        (torch.bfloat16, 0.015, True),  # two units of its last place
        (torch.bfloat16, 0.1, False),
    ],
)
def test_what_is_rounding_in_bfloat16_is_none_in_float32(tmp_path, dtype, off, is_used):
    stream = tiny_stream("llama", tmp_path, dtype)
    pairs = late_pairs(4)
    logits, clean = stream.logits_and_streams(pairs.clean)
    metric = logit_difference(logits, pairs) * (1 + off)
    found = shared_prefix(stream, pairs, {0: clean[0]}, metric)
    assert found.n_tokens == (4 if is_used else 0)


@pytest.mark.parametrize("method", ["attribution", "integrated"])
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


def test_nothing_known_is_run_again(stream):
    """Neither the blocks before the layer nor the tokens before the difference."""
    pairs, n_pairs, shared, steps = late_pairs(4), 5, 4, 6
    n_tokens = [0] * N_LAYERS
    handles = []
    for index, block in enumerate(stream.blocks):

        def count(module, inputs, output, index=index):
            x = output[0] if isinstance(output, tuple) else output
            n_tokens[index] += x.shape[0] * x.shape[1]

        handles.append(next(block.children()).register_forward_hook(count))
    try:
        record(stream, pairs, steps=steps)
    finally:
        for handle in handles:
            handle.remove()
    once = n_pairs * (2 * N_TOKENS + shared)  # clean, corrupted, and what they share
    behind = n_pairs * (N_TOKENS - shared)
    # The steps of every layer below; and once, to see that the model can go on from there.
    expected = [once + (steps * layer + (layer > 0)) * behind for layer in range(N_LAYERS)]
    assert n_tokens == expected


def test_the_last_layer_has_no_block_after_it(stream):
    """Its gradient is that of the unembedding, wherever on the way."""
    pairs = random_pairs(3, N_TOKENS, VOCAB_SIZE, first=1)
    found = record(stream, pairs, layers=[N_LAYERS - 1]).gradients[N_LAYERS - 1]
    assert found.shape == (3, N_TOKENS, D_MODEL)
    assert (found[:, :-1] == 0).all()
    assert (found[:, -1] != 0).any()
