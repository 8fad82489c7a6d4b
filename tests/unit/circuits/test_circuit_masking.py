"""Positions beyond the norm limits: nothing is taken apart there, nor stands in from there."""

import dataclasses

import numpy as np
import pytest
import torch
from language_models import D_MODEL, N_LAYERS, VOCAB_SIZE
from tiny_circuits import D_SAE, random_pairs

from clustersae.activations.mask import NormLimits
from clustersae.circuits import masking
from clustersae.circuits.ablation import draw_sources, stand_in
from clustersae.circuits.attribution import attributed_effects, exact_effects
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.nodes import Nodes, top
from clustersae.circuits.recording import record, run_clean
from clustersae.circuits.storage import load_recordings, save_recordings

N_TOKENS, N_TEST = 6, 5
ABLATIONS = ("mean", "zero", "resample")
FINGERPRINT = "f" * 64


@pytest.fixture(scope="module")
def known():
    return random_pairs(4, N_TOKENS, VOCAB_SIZE, seed=1, first=1)


@pytest.fixture(scope="module")
def new():
    return random_pairs(N_TEST, N_TOKENS, VOCAB_SIZE, seed=2, first=1)


@pytest.fixture(scope="module")
def limits(stream, known, new):
    """Such that a part of the positions is outside, at a layer or two."""
    x = stream.capture(torch.cat([known.clean, known.corrupted, new.clean]))
    norms = torch.stack([each[:, 1:].norm(dim=-1).flatten() for each in x]).double()
    median = norms.quantile(0.9, dim=1)
    mean = torch.zeros(N_LAYERS, D_MODEL)
    return NormLimits(tuple(range(N_LAYERS)), median, 1.0, mean, 0.8, 100, FINGERPRINT)


def outside(stream, tokens, limits):
    """bool [n_rows, n_tokens], without the first token; the long way."""
    streams = stream.capture(tokens)
    found = torch.zeros(tokens.shape, dtype=torch.bool)
    for row in range(len(tokens)):
        for place in range(1, tokens.shape[1]):
            norms = [float(x[row, place].norm()) for x in streams]
            found[row, place] = any(n > m for n, m in zip(norms, limits.limit.tolist()))
    return found


def test_what_is_masked(stream, known, new, limits):
    recording, run = record(stream, known, limits=limits), run_clean(stream, new, limits=limits)
    of_pairs = outside(stream, known.clean, limits) | outside(stream, known.corrupted, limits)
    assert torch.equal(recording.masked, of_pairs)
    assert torch.equal(run.masked, outside(stream, new.clean, limits))
    for mask in (recording.masked, run.masked):
        assert 0 < mask.float().mean() < 0.7
    # Parts of one pair each find the same.
    apart = record(stream, known, max_entries=1, limits=limits)
    assert torch.equal(apart.masked, of_pairs)


def test_special_tokens_within_a_prompt_are_masked_with_and_without_limits(
    stream, known, new, limits
):
    """As a chat model's prompts spell them out; what begins a prompt is not analysed anyway."""
    special = (int(known.clean[0, 2]), int(known.corrupted[1, 4]), int(new.clean[2, 3]))
    known, new = (pairs._replace(left_out=special) for pairs in (known, new))

    def found(tokens):
        return torch.tensor([[int(each) in special for each in row] for row in tokens])

    for each in (None, limits):
        far = [torch.zeros_like(found(known.clean))] * 2
        if each:
            far = [outside(stream, tokens, each) for tokens in (known.clean, known.corrupted)]
        wanted = found(known.clean) | found(known.corrupted) | far[0] | far[1]
        wanted[:, 0] = False
        for method in ("attribution", "integrated"):
            recording = record(stream, known, method, limits=each, max_entries=1)
            assert torch.equal(recording.masked, wanted)
            assert all((each[wanted] == 0).all() for each in recording.gradients.values())
        wanted = found(new.clean) | (outside(stream, new.clean, each) if each else False)
        wanted[:, 0] = False
        assert torch.equal(run_clean(stream, new, limits=each).masked, wanted)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_with_nothing_masked_nothing_changes_by_a_bit(stream, saes, known, new, limits, ablation):
    measured = []
    for each in (None, dataclasses.replace(limits, multiple=1e9)):  # everywhere inside
        recording, run = record(stream, known, limits=each), run_clean(stream, new, limits=each)
        assert (recording.masked, run.masked) == (None, None)
        effects = attributed_effects(stream, saes, [recording])
        sweep = Evaluation(stream, saes, [recording], [run], ablation).sweep(effects, [3, 20])
        measured.append((effects.numpy(), *sweep))
    for one, other in zip(*measured):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", ["attribution", "integrated"])
def test_masked_positions_have_no_gradient_and_stay_on_the_way(stream, known, limits, method):
    recording = record(stream, known, method, layers=(0, 1), limits=limits)
    for layer in (0, 1):
        gradient = recording.gradients[layer]
        assert (gradient[recording.masked] == 0).all()
        assert (gradient[~recording.masked][:, 0] != 0).any()
    if method == "integrated":  # the mean over ten points, by hand, in one pair
        clean, corrupted = (x[0][:1] for x in (recording.clean, recording.corrupted))
        end = torch.where(recording.masked[:1, :, None], clean, corrupted)
        total = torch.zeros_like(clean)
        for step in range(10):
            x = (clean + (step + 0.5) / 10 * (end - clean)).requires_grad_()
            with torch.enable_grad(), stream.replaced({0: lambda _, x=x: x}):
                logits = stream.model(input_ids=known.clean[:1]).logits[0, -1]
                m = logits[known.answer[0]] - logits[known.wrong[0]]
                total += torch.autograd.grad(m, x)[0] / 10
        total[recording.masked[:1]] = 0
        total[:, 0] = 0  # in both prompts
        scale = float(total.abs().max())
        torch.testing.assert_close(recording.gradients[0][:1], total, rtol=0, atol=2e-6 * scale)


def test_patching_leaves_masked_positions(stream, saes, known, limits):
    recording = record(stream, known, "attribution", limits=limits)
    nodes = Nodes(saes)
    effects = attributed_effects(stream, saes, [recording])
    numbers = [*top(effects, 5), *nodes.errors.values()]
    found = exact_effects(stream, saes, [recording], numbers)
    for number, effect in zip(numbers, found.tolist()):
        layer, latent = nodes.node(number)
        dictionary, start = saes[layer], 1 if layer < N_LAYERS - 1 else N_TOKENS - 1
        parts = []
        for x in (recording.clean[layer], recording.corrupted[layer]):
            latents = dictionary.encode(x)
            value = (latents.values * (latents.indices == latent)).sum(-1, keepdim=True)
            whole = dictionary.combine(latents) + dictionary.offset
            parts.append(x - whole if latent is None else value * dictionary.direction(latent))
        move = (parts[1] - parts[0]).masked_fill(recording.masked[..., None], 0)
        move[:, :start] = 0
        logits = stream.logits_from(layer, recording.clean[layer] + move, known.clean)[:, -1]
        options = logits.gather(1, torch.stack([known.answer, known.wrong], 1))
        expected = (options[:, 0] - options[:, 1] - recording.clean_metric).mean()
        assert effect == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


def test_means_are_over_what_is_not_masked(stream, saes, known, limits):
    recording = record(stream, known, "attribution", limits=limits)
    masked = recording.masked.clone()
    masked[:, 3] = True  # nothing is left at one position
    recording = recording._replace(masked=masked)
    sources = draw_sources(N_TEST, len(known.clean), 0)
    found = stand_in("mean", saes[1], recording, 1, 1, sources)
    drawn = stand_in("resample", saes[1], recording, 1, 1, sources)
    both = torch.cat([recording.clean[1], recording.corrupted[1]])
    inside = ~torch.cat([masked, masked])
    for place in range(1, N_TOKENS):
        of_place = both[:, place] if place == 3 else both[inside[:, place], place]
        latents = saes[1].encode(of_place)
        values = torch.zeros(len(of_place), D_SAE).scatter(1, latents.indices, latents.values)
        torch.testing.assert_close(found.mean[place - 1], values.mean(0), rtol=1e-5, atol=1e-5)
        mean = of_place.mean(0)
        whole = found.rest[0, place - 1] + saes[1].combine_dense(found.mean[place - 1])
        torch.testing.assert_close(whole, mean, rtol=1e-5, atol=1e-4)
        for row, source in enumerate(sources.tolist()):
            expected = both[source, place] if inside[source, place] else mean
            latents = type(drawn.drawn)(*(part[row, place - 1] for part in drawn.drawn))
            whole = drawn.rest[row, place - 1] + saes[1].combine(latents)
            torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_circuits_leave_masked_positions_as_they_come(stream, saes, known, new, limits, ablation):
    """m(∅), with one hook per layer over the whole model."""
    recording = record(stream, known, "attribution", limits=limits)
    run = run_clean(stream, new, limits=limits)
    sources = draw_sources(N_TEST, len(known.clean), 0)

    def hook(layer):
        start = 1 if layer < N_LAYERS - 1 else N_TOKENS - 1
        values = stand_in(ablation, saes[layer], recording, layer, start, sources)
        whole = values.rest
        if values.mean is not None:
            whole = whole + saes[layer].combine_dense(values.mean)
        if values.drawn is not None:
            whole = whole + saes[layer].combine(values.drawn)

        def change(x):
            changed = x.clone()
            changed[:, start:] = whole
            return torch.where(run.masked[..., None], x, changed)

        return change

    with stream.replaced({layer: hook(layer) for layer in saes}):
        logits = stream.logits(new.clean)[:, -1]
    options = logits.gather(1, torch.stack([new.answer, new.wrong], 1))
    evaluation = Evaluation(stream, saes, [recording], [run], ablation)
    expected = options[:, 0] - options[:, 1]
    torch.testing.assert_close(evaluation.empty, expected, rtol=1e-3, atol=1e-4)
    # Whatever is masked, a circuit of all nodes is the model.
    scores = torch.ones(evaluation.nodes.n_nodes)
    sweep = evaluation.sweep(scores, [D_SAE, evaluation.nodes.n_latents], "kept")
    np.testing.assert_allclose(sweep.circuit[1], sweep.full, atol=1e-4)
    unmasked = Evaluation(stream, saes, [recording], [run._replace(masked=None)], ablation)
    other = unmasked.sweep(scores, [D_SAE], "kept")
    assert np.abs(other.circuit[0] - sweep.circuit[0]).max() > 1e-3


def test_masks_come_back_from_disk(stream, known, new, limits, tmp_path):
    recording = record(stream, known, "attribution", layers=(0, 2), limits=limits)
    run = run_clean(stream, new, limits=limits)
    for mask, other in ((recording.masked, run.masked), (None, None)):
        given = [recording._replace(masked=mask)], [run._replace(masked=other)]
        save_recordings(tmp_path / "r.safetensors", *given, FINGERPRINT)
        loaded, runs = load_recordings(tmp_path / "r.safetensors", FINGERPRINT)
        assert list(loaded[0].clean) == [0, 2]
        assert torch.equal(loaded[0].gradients[2], recording.gradients[2])
        for found, expected in ((loaded[0].masked, mask), (runs[0].masked, other)):
            assert (found is None) if expected is None else torch.equal(found, expected)


def test_masks_of_parts_are_joined_where_any_of_them_masks_anything():
    some, nothing = torch.tensor([[True, False]]), torch.tensor([[False, False]])
    joined = masking.or_none([some, nothing])
    assert joined is not None
    assert joined.tolist() == [[True, False], [False, False]]
    assert masking.or_none([nothing, nothing]) is masking.or_none([None]) is None
