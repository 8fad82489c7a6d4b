import pytest
import torch
from dense_latents import dense
from language_models import D_MODEL, N_LAYERS, VOCAB_SIZE, save_tiny_model
from tiny_circuits import (
    D_SAE,
    K,
    LinearModel,
    random_linear_model,
    random_pairs,
    random_sae,
    signed_identity,
)

from clustersae.circuits.attribution import attributed_effects, exact_effects
from clustersae.circuits.dictionaries import dictionaries_of, residual_basis
from clustersae.circuits.nodes import Node, Nodes, top
from clustersae.circuits.recording import record
from clustersae.models.anatomy import describe
from clustersae.models.loading import load_pretrained
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError

N_TOKENS = 7


@pytest.fixture(scope="module")
def linear():
    return ResidualStream(random_linear_model(N_LAYERS, D_MODEL, VOCAB_SIZE), "blocks")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """In float64, for differences."""
    folder = save_tiny_model("gpt2", tmp_path_factory.mktemp("gpt2"))
    description = describe(folder, "here")
    model = load_pretrained(folder, dtype=torch.float64)
    return ResidualStream(model, description)


def by_layer(effects, dictionaries):
    """Sum over the nodes of each layer, latents and error."""
    nodes = Nodes(dictionaries)
    return torch.stack(
        [effects[part].sum() + effects[nodes.errors[i]] for i, part in nodes.slices.items()]
    )


@pytest.mark.parametrize("method", ["attribution", "integrated"])
@pytest.mark.parametrize("basis", ["saes", "residual"])
def test_attribution_is_exact_on_a_linear_model(linear, saes, method, basis):
    dictionaries = saes if basis == "saes" else residual_basis(range(N_LAYERS), D_MODEL)
    recording = record(linear, random_pairs(5, N_TOKENS, VOCAB_SIZE, first=1), method)
    attributed = attributed_effects(linear, dictionaries, [recording])
    nodes = Nodes(dictionaries)
    exact = exact_effects(linear, dictionaries, [recording], list(range(nodes.n_nodes)))
    torch.testing.assert_close(attributed, exact, rtol=1e-4, atol=1e-5)
    assert torch.corrcoef(torch.stack([attributed, exact]))[0, 1] == pytest.approx(1, abs=1e-6)
    assert (exact != 0).sum() > 20
    errors = exact[list(nodes.errors.values())]
    assert (errors.abs() > 1e-2).all() if basis == "saes" else (errors == 0).all()


def test_the_nodes_of_every_layer_share_out_the_whole_effect(linear, saes):
    """On a linear model; counting a path twice would make earlier layers add up to more."""
    recording = record(linear, random_pairs(5, N_TOKENS, VOCAB_SIZE), "attribution")
    total = (recording.corrupted_metric - recording.clean_metric).mean()
    effects = attributed_effects(linear, saes, [recording])
    torch.testing.assert_close(by_layer(effects, saes), total.expand(N_LAYERS), rtol=1e-4, atol=0)


def test_integrated_gradients_share_out_the_whole_effect_of_a_transformer(gpt2, saes):
    pairs = random_pairs(6, N_TOKENS, VOCAB_SIZE)
    missing = {}
    for method, steps in (("attribution", 1), ("integrated", 10), ("integrated", 100)):
        recording = record(gpt2, pairs, method, steps)
        total = float((recording.corrupted_metric - recording.clean_metric).mean())
        sums = by_layer(attributed_effects(gpt2, saes, [recording]), saes)
        missing[method, steps] = float((sums - total).abs().max()) / abs(total)
    assert missing["integrated", 100] < 0.01
    assert missing["integrated", 100] < missing["integrated", 10] < missing["attribution", 1]


def test_one_step_is_exact_where_m_is_quadratic():
    class Quadratic(LinearModel):
        def forward(self, input_ids, use_cache=False):
            output = super().forward(input_ids)
            output.logits = output.logits + output.logits.square()
            return output

    plain = random_linear_model(2, 8, 12)
    plain.__class__ = Quadratic
    stream, dictionaries = ResidualStream(plain, "blocks"), residual_basis(range(2), 8)
    pairs = random_pairs(4, 5, 12)
    for method, right in (("integrated", True), ("attribution", False)):
        recording = record(stream, pairs, method, steps=1)
        total = (recording.corrupted_metric - recording.clean_metric).mean()
        sums = by_layer(attributed_effects(stream, dictionaries, [recording]), dictionaries)
        assert torch.allclose(sums, total.expand(2), rtol=1e-4) is right


def test_attribution_is_the_slope_of_patching(gpt2, saes):
    """Central differences of m while one node moves a little towards its corrupted value."""
    pairs = random_pairs(4, N_TOKENS, VOCAB_SIZE, first=1)
    recording = record(gpt2, pairs, "attribution")
    effects = attributed_effects(gpt2, saes, [recording])
    nodes = Nodes(saes)
    for number in [*top(effects, 6), *nodes.errors.values()]:
        layer, latent = nodes.node(number)
        dictionary = saes[layer]
        clean, corrupted = recording.clean[layer], recording.corrupted[layer]
        if latent is None:
            rest = [x - dictionary.combine(dictionary.encode(x)) for x in (clean, corrupted)]
            move = rest[1] - rest[0]
        else:
            values = [dense(dictionary.encode(x), D_SAE)[..., latent] for x in (clean, corrupted)]
            move = (values[1] - values[0]).unsqueeze(-1) * dictionary.direction(latent)
        slopes = []
        for step in (1e-4, -1e-4):
            logits = gpt2.logits_from(layer, clean + step * move.double(), pairs.clean)[:, -1]
            options = logits.gather(1, torch.stack([pairs.answer, pairs.wrong], 1))
            slopes.append((options[:, 0] - options[:, 1]).mean() / step)
        assert float(effects[number]) == pytest.approx(float(sum(slopes) / 2), rel=1e-3, abs=1e-6)


def test_an_sae_that_loses_nothing_has_the_effects_of_the_residual_basis(gpt2):
    generator = torch.Generator().manual_seed(4)
    mean = torch.randn(N_LAYERS, D_MODEL, generator=generator)
    scale = torch.tensor([0.5, 2.0, 3.0])
    layers = range(N_LAYERS)
    identity = dictionaries_of([signed_identity(tuple(layers), D_MODEL, mean, scale)])
    recording = record(gpt2, random_pairs(5, N_TOKENS, VOCAB_SIZE), "integrated", 3)
    effects = attributed_effects(gpt2, identity, [recording]).view(N_LAYERS, -1)
    basis = attributed_effects(gpt2, residual_basis(layers, D_MODEL), [recording])
    basis = basis.view(N_LAYERS, -1)
    halves = effects[:, :D_MODEL] + effects[:, D_MODEL:-1]
    torch.testing.assert_close(halves, basis[:, :-1], rtol=1e-4, atol=1e-5)
    assert effects[:, -1].abs().max() < 1e-5
    assert (basis[:, -1] == 0).all()


def test_prompts_of_two_lengths_and_small_chunks_change_nothing(gpt2, saes):
    short, long = random_pairs(3, 5, VOCAB_SIZE, seed=1), random_pairs(5, 8, VOCAB_SIZE, seed=2)
    for method in ("attribution", "integrated"):
        apart = [attributed_effects(gpt2, saes, [record(gpt2, p, method)]) for p in (short, long)]
        recordings = [record(gpt2, pairs, method, max_entries=20_000) for pairs in (short, long)]
        together = attributed_effects(gpt2, saes, recordings, max_entries=100)
        expected = (3 * apart[0] + 5 * apart[1]) / 8
        torch.testing.assert_close(together, expected, rtol=1e-3, atol=1e-6)
    numbers = top(together, 12)
    exact = exact_effects(gpt2, saes, recordings, numbers, max_entries=3000)
    torch.testing.assert_close(exact, exact_effects(gpt2, saes, recordings, numbers))


def test_exact_effects_come_in_the_order_asked_for(gpt2, saes):
    recording = record(gpt2, random_pairs(3, N_TOKENS, VOCAB_SIZE), "attribution")
    numbers = top(attributed_effects(gpt2, saes, [recording]), 8)
    exact = exact_effects(gpt2, saes, [recording], numbers)
    back = exact_effects(gpt2, saes, [recording], numbers[::-1])
    torch.testing.assert_close(exact, back.flip(0))


def test_layers_that_do_not_begin_with_the_first(gpt2):
    """Exact effects of the layers 1 and 2 are those that they have beside layer 0."""
    two = [random_sae((layer,), D_MODEL, D_SAE, K, seed=layer) for layer in (1, 2)]
    all_three = [random_sae((0,), D_MODEL, D_SAE, K), *two]
    pairs, found = random_pairs(3, N_TOKENS, VOCAB_SIZE), []
    for saes in (two, all_three):
        dictionaries = dictionaries_of(saes)
        recording = record(gpt2, pairs, "attribution", layers=list(dictionaries))
        n_before = (len(saes) - 2) * (D_SAE + 1)
        nodes = [n_before + number for number in range(2 * (D_SAE + 1))]
        found.append(exact_effects(gpt2, dictionaries, [recording], nodes))
    torch.testing.assert_close(*found)


def test_numbers_of_nodes(saes):
    nodes = Nodes(saes)
    assert (nodes.n_nodes, nodes.n_latents) == (3 * 25, 3 * 24)
    assert nodes.node(0) == Node(0, 0)
    assert nodes.node(24) == Node(0, None)
    assert nodes.node(25) == Node(1, 0)
    assert nodes.node(74) == Node(2, None)
    with pytest.raises(InputError, match="none is 75"):
        nodes.node(75)
    # Errors have the numbers 24, 49 and 74; the largest scores come first, whatever their sign.
    scores = torch.zeros(75)
    scores[[24, 49, 3]] = torch.tensor([5.0, -7.0, -6.0])
    assert nodes.ranks(scores, "nodes")[[49, 3, 24, 0]].tolist() == [0, 1, 2, 3]
    assert nodes.ranks(scores, "kept")[[3, 0, 24, 49, 74]].tolist() == [0, 1, 72, 73, 74]


def test_pairs_that_do_not_fit_are_refused(linear):
    pairs = random_pairs(3, N_TOKENS, VOCAB_SIZE)
    with pytest.raises(InputError, match="not the shapes"):
        record(linear, pairs._replace(corrupted=pairs.corrupted[:, 1:]))
    with pytest.raises(InputError, match="not the shapes"):
        record(linear, pairs._replace(group=pairs.group[1:]))
    with pytest.raises(InputError, match="at least one of each"):
        record(linear, pairs._replace(first=N_TOKENS))
