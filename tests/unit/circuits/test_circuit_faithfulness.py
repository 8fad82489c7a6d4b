import itertools

import numpy as np
import pytest
import torch
from dense_latents import dense
from language_models import D_MODEL, FAMILIES, N_LAYERS, VOCAB_SIZE, tiny_stream
from pretended_gpu import DEVICE, PretendedGPU
from tiny_circuits import D_SAE, K, random_linear_model, random_pairs, random_sae, signed_identity

from clustersae.circuits.ablation import draw_sources
from clustersae.circuits.attribution import attributed_effects
from clustersae.circuits.curves import curve
from clustersae.circuits.dictionaries import dictionaries_of, residual_basis
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.nodes import Circuits, Nodes
from clustersae.circuits.recording import record, run_clean
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.relu import ReLU

N_TOKENS, N_TEST = 6, 5
ABLATIONS, MODES = ("mean", "zero", "resample"), ("nodes", "kept", "ablated")


@pytest.fixture(scope="module")
def train(stream):
    return record(stream, random_pairs(4, N_TOKENS, VOCAB_SIZE, seed=1, first=1), "attribution")


@pytest.fixture(scope="module")
def test(stream):
    return run_clean(stream, random_pairs(N_TEST, N_TOKENS, VOCAB_SIZE, seed=2, first=1))


@pytest.fixture(scope="module")
def scores(saes):
    return torch.randn(Nodes(saes).n_nodes, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_ends_of_the_curves(stream, saes, train, test, scores, ablation):
    evaluation = Evaluation(stream, saes, [train], [test], ablation)
    ends = {}
    for errors in MODES:
        sweep = evaluation.sweep(scores, [0, evaluation.nodes.candidates(errors)], errors)
        faithful, complete = curve(sweep, "faithfulness"), curve(sweep, "completeness")
        ends[errors] = [*faithful, *complete]
        # What a circuit leaves of the model is what its complement is.
        assert complete == pytest.approx(faithful[::-1], abs=1e-4)
        assert abs((sweep.full - sweep.empty).mean()) > 0.001  # by how transformers draws weights
    assert ends["nodes"] == pytest.approx([0, 1, 1, 0], abs=1e-4)
    assert ends["kept"][1] == pytest.approx(1, abs=1e-4)
    assert ends["ablated"][0] == pytest.approx(0, abs=1e-4)
    # These SAEs explain little: the errors alone, and the latents alone, make another model.
    assert abs(ends["kept"][0]) > 1e-2
    assert abs(ends["ablated"][1] - 1) > 1e-2


def brute_force(stream, saes, train, test, kept, ablation, row):
    """m of one prompt: one hook per layer over the whole model, one node at a time."""
    nodes = Nodes(saes)
    pairs = test.pairs
    prompts = torch.cat([train.pairs.clean, train.pairs.corrupted])
    source = draw_sources(N_TEST, len(train.pairs.clean), 0)[row]
    streams = stream.capture(prompts)

    def parts(x, layer):
        """Latents [..., D_SAE] and error."""
        dictionary = saes[layer]
        values = dense(dictionary.encode(x), D_SAE)
        total = sum(values[..., [j]] * dictionary.direction(j) for j in range(D_SAE))
        return values, x - total - dictionary.offset

    def change(layer):
        dictionary = saes[layer]
        latents, errors = parts(streams[layer], layer)
        if ablation == "mean":
            latents, errors = latents.mean(0), errors.mean(0)
        elif ablation == "resample":
            latents, errors = latents[source], errors[source]
        else:
            latents, errors = torch.zeros_like(latents[0]), torch.zeros_like(errors[0])

        def hook(x):
            own_latents, own_error = parts(x, layer)
            changed = dictionary.offset + (
                own_error if nodes.errors[layer] in kept else errors[None]
            )
            for j in range(D_SAE):
                inside = nodes.slices[layer].start + j in kept
                values = own_latents[..., [j]] if inside else latents[None, :, [j]]
                changed = changed + values * dictionary.direction(j)
            return torch.cat([x[:, :1], changed[:, 1:]], 1)

        return hook

    with stream.replaced({layer: change(layer) for layer in saes}):
        logits = stream.logits(pairs.clean[[row]])[0, -1]
    return float(logits[pairs.answer[row]] - logits[pairs.wrong[row]])


@pytest.mark.parametrize(("ablation", "errors"), itertools.product(ABLATIONS, MODES))
def test_a_sweep_equals_brute_force(stream, saes, train, test, scores, ablation, errors):
    sizes = [1, 20, 45]
    evaluation = Evaluation(stream, saes, [train], [test], ablation)
    sweep = evaluation.sweep(scores, sizes, errors)
    nodes = evaluation.nodes
    of_errors = set(nodes.errors.values())
    candidates = [n for n in range(nodes.n_nodes) if errors == "nodes" or n not in of_errors]
    order = sorted(candidates, key=lambda n: -abs(scores[n]))
    always = of_errors if errors == "kept" else set()
    for index, size in enumerate(sizes):
        inside, outside = set(order[:size]) | always, set(order[size:]) | always
        for row in (0, N_TEST - 1):
            for kept, found in ((inside, sweep.circuit), (outside, sweep.complement)):
                expected = brute_force(stream, saes, train, test, kept, ablation, row)
                assert found[index, row] == pytest.approx(expected, rel=1e-3, abs=2e-4)
    empty = [brute_force(stream, saes, train, test, set(), ablation, row) for row in (0, 1)]
    assert sweep.empty[:2] == pytest.approx(empty, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_tokens_with_different_numbers_of_latents_are_in_no_ones_way(tmp_path, scores, ablation):
    """Of ReLU SAEs, whose latents come in as many columns as each chunk's busiest token needs."""
    stream = tiny_stream(next(iter(FAMILIES)), tmp_path)
    shared, alone = (
        random_sae(some, D_MODEL, D_SAE, K, len(some), ReLU) for some in ((0, 2), (1,))
    )
    saes = dictionaries_of([shared, alone])
    train = record(stream, random_pairs(4, N_TOKENS, VOCAB_SIZE, seed=1, first=1), "attribution")
    test = run_clean(stream, random_pairs(N_TEST, N_TOKENS, VOCAB_SIZE, seed=2, first=1))
    n_active = (saes[0].encode(test.x).values > 0).sum(-1)
    assert n_active.min() < n_active.max()
    evaluation = Evaluation(stream, saes, [train], [test], ablation, max_entries=2000)
    found = evaluation.sweep(scores, [20]).circuit[0]
    order = scores.abs().argsort(descending=True).tolist()
    for row in (0, N_TEST - 1):
        expected = brute_force(stream, saes, train, test, set(order[:20]), ablation, row)
        assert found[row] == pytest.approx(expected, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize(("ablation", "errors"), zip(ABLATIONS, MODES))
def test_sizes_at_once_equal_sizes_one_by_one(stream, saes, train, test, scores, ablation, errors):
    sizes = [1, 3, 9, 27, 60]
    together = Evaluation(stream, saes, [train], [test], ablation).sweep(scores, sizes, errors)
    # Chunks of one circuit and one prompt; of 2 to 3 circuits and all prompts.
    for max_entries in (1, 25_000):
        chunked = Evaluation(stream, saes, [train], [test], ablation, max_entries=max_entries)
        for index, size in enumerate(sizes):
            alone = chunked.sweep(scores, [size], errors)
            assert alone.circuit[0] == pytest.approx(together.circuit[index], abs=1e-4)
            assert alone.complement[0] == pytest.approx(together.complement[index], abs=1e-4)
        many = chunked.sweep(scores, sizes, errors)
        np.testing.assert_allclose(many.circuit, together.circuit, atol=1e-4)
        np.testing.assert_allclose(many.complement, together.complement, atol=1e-4)


def test_the_clean_and_the_empty_model_run_once(stream, saes, train, scores):
    batches = []
    handle = stream.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: batches.append(len(inputs[0]))
    )
    try:
        test = run_clean(stream, random_pairs(N_TEST, N_TOKENS, VOCAB_SIZE, seed=2, first=1))
        evaluation = Evaluation(stream, saes, [train], [test], "mean")
        for errors in MODES:
            evaluation.sweep(scores, list(range(1, 17)), errors)
    finally:
        handle.remove()
    sizes_and_complements = 2 * 16 * N_TEST
    # The clean pass, the empty circuit, and one batch per mode.
    assert batches == [N_TEST, N_TEST, *3 * [sizes_and_complements]]


def test_an_empty_circuit_is_the_same_for_all_saes(stream, saes, train, test):
    others = dictionaries_of([random_sae((0, 1, 2), D_MODEL, 40, 3, seed=7)])
    basis = residual_basis(range(N_LAYERS), D_MODEL)
    for ablation in ("mean", "resample"):
        empty = [
            Evaluation(stream, each, [train], [test], ablation).empty
            for each in (saes, others, basis)
        ]
        torch.testing.assert_close(empty[0], empty[1], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(empty[0], empty[2], rtol=1e-3, atol=1e-4)
    # Resampled, it is the model on the prompt that was drawn.
    prompts = torch.cat([train.pairs.clean, train.pairs.corrupted])
    drawn = stream.logits(prompts[draw_sources(N_TEST, 4, 0)])[:, -1]
    options = torch.stack([test.pairs.answer, test.pairs.wrong], 1)
    expected = drawn.gather(1, options)
    torch.testing.assert_close(empty[2], expected[:, 0] - expected[:, 1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("ablation", "errors"), zip(ABLATIONS, MODES))
def test_saes_that_lose_nothing_give_the_circuits_of_the_residual_basis(
    stream, train, test, ablation, errors
):
    """Latents i and d_model + i, the two signs of a coordinate, in or out together."""
    layers = tuple(range(N_LAYERS))
    scale = torch.tensor([0.5, 2.0, 3.0])
    identity = dictionaries_of([signed_identity(layers, D_MODEL, scale=scale)])
    of_basis = torch.rand(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(5)) + 0.1
    no_errors = torch.zeros(N_LAYERS, 1)
    scores = {
        "basis": torch.cat([of_basis, no_errors], 1).flatten(),
        "saes": torch.cat([of_basis, of_basis, no_errors], 1).flatten(),
    }
    sizes = np.array([1, 5, 20, N_LAYERS * D_MODEL])
    basis = Evaluation(stream, residual_basis(layers, D_MODEL), [train], [test], ablation).sweep(
        scores["basis"], sizes.tolist(), errors
    )
    saes = Evaluation(stream, identity, [train], [test], ablation).sweep(
        scores["saes"], (2 * sizes).tolist(), errors
    )
    for one, other in zip(saes[1:], basis[1:]):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4)
    # Nothing is in the errors, so it does not matter what becomes of them.
    assert curve(basis, "faithfulness")[-1] == pytest.approx(1, abs=1e-4)
    assert curve(basis, "completeness")[-1] == pytest.approx(0, abs=1e-4)


def test_layers_without_a_dictionary_stay_as_they_are(stream, saes, train, test, scores):
    """Only layer 1 is taken apart: brute force with that layer's hook alone."""
    one = {1: saes[1]}
    run = run_clean(stream, test.pairs, layer=1)
    evaluation = Evaluation(stream, one, [train], [run], "mean")
    sweep = evaluation.sweep(scores[: D_SAE + 1], [0, 7, D_SAE + 1])
    order = scores[: D_SAE + 1].abs().argsort(descending=True).tolist()
    for index, size in enumerate([0, 7]):
        expected = brute_force(stream, one, train, test, set(order[:size]), "mean", 2)
        assert sweep.circuit[index, 2] == pytest.approx(expected, rel=1e-3, abs=2e-4)
    assert sweep.circuit[2] == pytest.approx(sweep.full, abs=1e-4)
    with pytest.raises(InputError, match="run it with layer=1"):
        Evaluation(stream, one, [train], [test], "mean")


def test_prompts_of_two_lengths_are_taken_in_order(stream, saes, train, test, scores):
    longer = record(stream, random_pairs(3, 9, VOCAB_SIZE, seed=4, first=1), "attribution")
    run = run_clean(stream, random_pairs(2, 9, VOCAB_SIZE, seed=5, first=1))
    both = Evaluation(stream, saes, [longer, train], [test, run], "mean").sweep(scores, [10, 30])
    first = Evaluation(stream, saes, [train], [test], "mean").sweep(scores, [10, 30])
    second = Evaluation(stream, saes, [longer], [run], "mean").sweep(scores, [10, 30])
    for together, one, other in zip(both[1:], first[1:], second[1:]):
        np.testing.assert_allclose(together, np.concatenate([one, other], -1), atol=1e-4)
    with pytest.raises(InputError, match="No training prompts have 9 tokens"):
        Evaluation(stream, saes, [train], [run], "mean")


def test_circuits_larger_than_the_model_are_refused(stream, saes, train, test, scores):
    evaluation = Evaluation(stream, saes, [train], [test], "mean")
    assert evaluation.sweep(scores, [75]).sizes.tolist() == [75]
    for sizes, errors in (([76], "nodes"), ([73], "kept"), ([-1], "nodes"), ([], "nodes")):
        with pytest.raises(InputError, match="nodes here: not the sizes"):
            evaluation.sweep(scores, sizes, errors)


def test_a_model_that_cannot_restart_gives_the_same(stream, saes, train, test, scores):
    sweeps = []
    restartable = stream.restartable
    try:
        for stream.restartable in (True, False):
            evaluation = Evaluation(stream, saes, [train], [test], "mean")
            sweeps.append(evaluation.sweep(scores, [5, 30]))
    finally:
        stream.restartable = restartable
    np.testing.assert_allclose(sweeps[0].circuit, sweeps[1].circuit, atol=1e-4)


def measured_on(device, scores, ablation):
    """Effects, and metrics of the test pairs in circuits of two sizes, in a model without masks."""
    model = random_linear_model(N_LAYERS, D_MODEL, VOCAB_SIZE).to(device)
    stream = ResidualStream(model, "blocks")
    shared, alone = (random_sae(some, D_MODEL, D_SAE, K, len(some)) for some in ((0, 2), (1,)))
    saes = dictionaries_of([shared.to(device), alone.to(device)])
    known, new = (random_pairs(n, N_TOKENS, VOCAB_SIZE, seed=n).to(device) for n in (4, N_TEST))
    train, test = record(stream, known, "integrated", 2), run_clean(stream, new)
    effects = attributed_effects(stream, saes, [train])
    evaluation = Evaluation(stream, saes, [train], [test], ablation, max_entries=2000)
    ranks = Nodes(saes).ranks(scores.to(device), "nodes")
    sizes = torch.tensor([3, 30]).to(device)
    return effects, evaluation.metrics(Circuits(ranks, sizes, sizes > 3, "nodes"))


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_gpu_measures_what_the_cpu_measures_and_is_asked_nothing(scores, ablation):
    """No value and no shape is read on the way; what is copied is brought there.

    In a model that does not ask itself: those of transformers look at the mask, once per batch.
    """
    expected = measured_on(torch.device("cpu"), scores, ablation)
    with PretendedGPU() as gpu:
        found = measured_on(DEVICE, scores, ablation)
        assert set(gpu.waits) == {"aten._to_copy.default"}
        for one, other in zip(found, expected):
            torch.testing.assert_close(one.cpu(), other, atol=1e-4, rtol=1e-3)
