"""Reconstruction metrics against their definitions and known limits."""

import math

import pytest
import torch
from synthetic_shards import D_MODEL, N_LAYERS, write_split

from clustersae.activations.shards import open_shards
from clustersae.quality.reconstruction import Firings, ReconstructionMetrics, evaluate_layer
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.validation import validate


def data(n=500, d=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator) * torch.arange(1, d + 1) + 100.0


def no_latents(n):
    return torch.zeros(n, 1, dtype=torch.int64), torch.zeros(n, 1)


def metrics_of(x, reconstruction, centre=None):
    metrics = ReconstructionMetrics(4, torch.zeros(x.shape[1]) if centre is None else centre)
    metrics.add_batch(x, reconstruction, *no_latents(len(x)))
    return metrics.compute()


def test_the_mean_explains_nothing_and_the_input_everything():
    x = data()
    assert metrics_of(x, x.mean(0).expand_as(x))["fvu"] == pytest.approx(1, abs=1e-5)
    perfect = metrics_of(x, x)
    assert perfect["fvu"] == 0
    assert perfect["mse"] == 0
    assert perfect["cosine"] == pytest.approx(1)


def test_tokens_that_do_not_vary_are_refused():
    for n_tokens in (1, 3):
        x = data(1).expand(n_tokens, -1)
        with pytest.raises(InputError, match="all the same"):
            metrics_of(x, 0.9 * x)


def test_errors_by_dimension_and_their_mean():
    """A third dimension never varies, and so has no FVU of its own."""
    x = torch.tensor([[1.0, 10.0, 5.0], [3.0, 50.0, 5.0]])
    found = metrics_of(x, x + torch.tensor([1.0, 10.0, 2.0]), torch.tensor([2.0, 0.0, 0.0]))
    assert found["fvu"] == pytest.approx(2 * (1 + 100 + 4) / (2 + 800))
    assert found["fvu_standardised"] == pytest.approx((2 / 2 + 200 / 800) / 2)
    assert found["mse"] == pytest.approx((1 + 100 + 4) / 3)


def test_fvu_is_the_ratio_of_sums_whatever_the_centre():
    x = data()
    guess = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    expected = ((x - guess).double() ** 2).sum() / ((x.double() - x.double().mean(0)) ** 2).sum()
    for centre in (None, x.mean(0), torch.full((6,), 1e3)):
        assert metrics_of(x, guess, centre)["fvu"] == pytest.approx(expected.item(), rel=1e-6)


def test_metrics_do_not_depend_on_the_batches():
    torch.manual_seed(0)
    x = data()
    sae = TopK((0,), 12, 3, x.mean(0, keepdim=True), torch.tensor([x.std()]))
    sae.initialise(torch.Generator().manual_seed(0))
    whole = evaluate_layer(sae, 0, [x])
    pieces = evaluate_layer(sae, 0, x.split([1, 99, 250, 150]))
    guess = metrics_of(x, sae.requires_grad_(False).reconstruct(x, 0))
    assert whole.compute()["fvu"] == pytest.approx(guess["fvu"], rel=1e-6)
    # Sums are in float64; products of float32 round by the size of the batch, on some processors.
    assert whole.compute() == pytest.approx(pieces.compute(), rel=1e-7)
    assert whole.firings().histogram() == pieces.firings().histogram()


def test_sparsity_of_a_hand_worked_case():
    # Of four latents, 0 fires on every token, 1 on one of ten; 2 is chosen but has value zero.
    metrics = ReconstructionMetrics(4, torch.zeros(2))
    indices = torch.tensor([[0, 2]] * 9 + [[0, 1]])
    values = torch.tensor([[1.0, 0.0]] * 9 + [[1.0, 2.0]])
    metrics.add_batch(torch.eye(2).repeat(5, 1), torch.zeros(10, 2), indices, values)
    found = metrics.compute()
    assert found["l0"] == pytest.approx(1.1)
    assert found["dead_fraction"] == 0.5
    histogram = metrics.firings().histogram(bins_per_decade=1)
    assert [(row["kind"], row["log10_density_low"], row["n_latents"]) for row in histogram] == [
        ("live", -1, 2),
        ("dead", "", 2),
    ]


def test_a_latent_that_fires_on_one_of_two_splits_is_alive():
    one, other = Firings(10, torch.tensor([3, 0, 1, 0])), Firings(30, torch.tensor([1, 0, 0, 2]))
    assert [each.shares()["dead_fraction"] for each in (one, other)] == [0.5, 0.5]
    both = one + other
    assert both.shares() == {
        "n_tokens_dead": 40,
        "dead_fraction": 0.25,
        "ultra_low_density_fraction": 0.25,
    }
    assert [row["n_latents"] for row in both.histogram(bins_per_decade=1)] == [2, 1, 1]


def test_densities_by_hand():
    """Logarithms of 2 and of 300 in 1,000 are −2.70 and −0.52; what always fires is in the last."""
    rows = Firings(1000, torch.tensor([2, 300, 1000, 0])).histogram()[:-1]
    ends = [(row["log10_density_low"], row["log10_density_high"]) for row in rows]
    assert ends == [(-2.8, -2.6), (-0.6, -0.4), (-0.2, 0)]
    rare = Firings(100_000, torch.tensor([9, 10, 0, 1])).shares()
    assert (rare["ultra_low_density_fraction"], rare["dead_fraction"]) == (0.75, 0.25)


def test_every_latent_is_in_the_histogram():
    metrics = ReconstructionMetrics(50, torch.zeros(2))
    generator = torch.Generator().manual_seed(0)
    indices = torch.rand(300, 50, generator=generator).pow(3).topk(4, dim=1).indices
    metrics.add_batch(torch.ones(300, 2), torch.ones(300, 2), indices, torch.ones(300, 4))
    rows = metrics.firings().histogram()
    assert sum(row["n_latents"] for row in rows) == 50
    for row in rows[:-1]:
        assert math.isclose(row["log10_density_high"] - row["log10_density_low"], 0.2)


def test_validation_weighs_the_layers_alike_whatever_their_scale(tmp_path):
    shards = open_shards(write_split(tmp_path, "validation", rows=(90, 60)))
    layers = (0, 2)
    whole = {layer: torch.cat([shard.layer(layer) for shard in shards]) for layer in layers}
    mean = torch.stack([whole[layer].mean(0) for layer in layers])
    sae = TopK(layers, 24, 3, mean, torch.tensor([1.0, N_LAYERS]))
    sae.requires_grad_(False).initialise(torch.Generator().manual_seed(0))
    expected = []
    for layer in layers:
        x = whole[layer].double()
        error = (x - sae.reconstruct(whole[layer], layer).double()).square().sum()
        expected.append(float(error / (x - x.mean(0)).square().sum()))
    assert expected[0] != pytest.approx(expected[1], rel=0.01)
    score = validate(sae, shards)
    assert score.fvu == pytest.approx(sum(expected) / 2, rel=1e-5)
    latents = [sae.encode(whole[layer], layer) for layer in layers]
    active = [(each.values > 0).sum(-1).double().mean() for each in latents]
    assert score.l0 == pytest.approx(float(sum(active)) / 2)
    assert score.l0 <= 3
    assert whole[0].shape == (150, D_MODEL)


def test_a_latent_that_is_active_at_one_layer_of_several_is_not_dead(tmp_path):
    """Latent 0 has a bias that silences it at layer 0 alone, by that layer's own mean."""
    shards = open_shards(write_split(tmp_path, "validation", rows=(90,)))
    mean = torch.stack([shards[0].layer(layer).float().mean(0) for layer in (0, 2)])
    far = 1e3 * torch.ones(D_MODEL)
    sae = TopK((0, 2), 3, 1, mean + torch.stack([far, -far]), torch.ones(2))
    with torch.no_grad():
        # Around such means all activations lie on one side, and on the other side at layer 2.
        sae.W_enc[:, 0], sae.W_enc[:, 1] = 1.0, -1.0
        sae.b_enc[2] = -1e9
    alone = [
        Firings(90, evaluate_layer(sae, layer, [shards[0].layer(layer)]).fired) for layer in (0, 2)
    ]
    assert [each.shares()["dead_fraction"] for each in alone] == pytest.approx([2 / 3, 2 / 3])
    assert validate(sae, shards).dead_fraction == pytest.approx(1 / 3)


class Held:
    """The same rows at every layer."""

    def __init__(self, *rows):
        self.rows, self.n_rows = torch.tensor(rows), len(rows)

    def layer(self, layer, start=0, stop=None):
        return self.rows[start:stop]


@pytest.mark.parametrize(
    ("max_dead", "enough", "dead"),
    [
        (0.75, 100, 3 / 4),  # few enough on validation
        (0.5, 100, 2 / 4),
        (0.0, 100, 1 / 4),  # all is read
        (0.0, 8, 2 / 4),  # activations, of two layers: four tokens, in two shards
    ],
)
def test_of_latents_that_validation_does_not_know_the_training_is_asked(
    monkeypatch, max_dead, enough, dead
):
    """Pre-activations are x₁, x₂, -x₁ and -x₂, of which one is positive and k are two."""
    monkeypatch.setattr("clustersae.sae.validation.ENOUGH", enough)
    sae = TopK((0, 1), 4, 2, torch.zeros(2, 2), torch.ones(2))
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([torch.eye(2), -torch.eye(2)]))
        sae.W_enc.copy_(sae.W_dec.t())
    up, left, down = [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]
    training = [Held(up, up, up), Held(up, left, up), Held(up, up, down)]
    found = validate(sae, [Held(up, [0.0, 0.25])], training, max_dead)
    assert found == (0.0, dead, 1.0)
