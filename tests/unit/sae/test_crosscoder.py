"""A crosscoder is a TopK SAE of its layers' normalised activations, one beside the other."""

from dataclasses import asdict
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from sae_settings_of import topk_settings
from synthetic_shards import N_LAYERS, all_layers

from clustersae.activations import aligned
from clustersae.activations.aligned import aligned_batches
from clustersae.activations.batches import normalised_batches
from clustersae.activations.blocks import reading_blocks
from clustersae.quality.reconstruction import evaluate_reading
from clustersae.run import Run
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.crosscoder import Crosscoder
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep
from clustersae.sae.loss import fvu_loss
from clustersae.sae.registry import create
from clustersae.sae.storage import load_sae, save_sae
from clustersae.sae.training import Trainer, choose_step, train
from clustersae.sae.validation import validate

LAYERS, D_MODEL, D_SAE, K = (1, 3, 4), 6, 20, 3
SETTINGS = topk_settings(
    D_SAE, K, n_steps=150, batch_size=256, learning_rate=0.01, warmup_steps=5,
    decay_steps=30, dead_after=2_000, layers_at_once=len(LAYERS),
)  # fmt: skip


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def crosscoder(layers=LAYERS, by_dimension=False):
    """With weights, biases, means and scales of no special kind."""
    n = len(layers)
    scale = 1 + normal(n, D_MODEL, seed=2).abs() if by_dimension else 1 + torch.arange(n).float()
    sae = Crosscoder(layers, D_SAE, K, normal(n, D_MODEL, seed=1), scale)
    sae.initialise(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for number, each in enumerate(sae.parameters(), 4):
            each.add_(0.1 * normal(*each.shape, seed=number))
    return sae


def by_hand(sae, x):
    """Lists of encoders, decoders and biases, one for each layer; x [n, n_layers, d_model]."""
    n = len(sae.layers)
    encoders, decoders = sae.W_enc.split(D_MODEL, 0), sae.W_dec.split(D_MODEL, 1)
    biases, scales = sae.b_dec.split(D_MODEL), sae.layer_scale
    normalised = [(x[:, i] - sae.layer_mean[i]) / scales[i] for i in range(n)]
    pre = sae.b_enc + sum((normalised[i] - biases[i]) @ encoders[i] for i in range(n))
    values, indices = torch.relu(pre).topk(K, dim=1)
    code = torch.zeros_like(pre).scatter(1, indices, values)
    outputs = [code @ decoders[i] + biases[i] for i in range(n)]
    losses = [fvu_loss(normalised[i], outputs[i]) for i in range(n)]
    raw = [outputs[i] * scales[i] + sae.layer_mean[i] for i in range(n)]
    return code, raw, sum(losses) / n


@pytest.mark.parametrize("by_dimension", [False, True])
def test_encoders_are_summed_and_every_layer_has_a_decoder(by_dimension):
    sae, x = crosscoder(by_dimension=by_dimension), 3 * normal(50, len(LAYERS), D_MODEL, seed=9)
    code, raw, loss = by_hand(sae, x)
    latents = sae.encode(x)
    found = torch.zeros_like(code).scatter(1, latents.indices, latents.values)
    assert torch.allclose(found, code, atol=1e-5)
    assert torch.allclose(sae.decode(latents), torch.stack(raw, 1), atol=1e-4)
    for layer, expected in zip(LAYERS, raw):
        assert torch.allclose(sae.decode(latents, layer), expected, atol=1e-4)
        assert torch.allclose(sae.reconstruct(x, layer), expected, atol=1e-4)
    batch = sae.normalise(x)
    own = fvu_loss(batch, sae.forward_training(batch).reconstruction)
    assert own.item() == pytest.approx(loss.item(), rel=1e-5)
    parameters = list(sae.parameters())
    for one, other in zip(
        torch.autograd.grad(own, parameters), torch.autograd.grad(loss, parameters)
    ):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("choose", [choose_step, EagerStep])
def test_of_one_layer_it_is_a_topk_sae_to_the_bit(choose):
    mean, scale = normal(1, D_MODEL, seed=1), torch.tensor([2.0])
    pair = [kind((3,), D_SAE, K, mean, scale) for kind in (TopK, Crosscoder)]
    for sae in pair:
        sae.initialise(torch.Generator().manual_seed(0))
        trainer = Trainer(sae, SETTINGS, choose)
        for step in range(40):
            trainer.step(normal(64, D_MODEL, seed=step))
    one, other = (sae.state_dict() for sae in pair)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    x = normal(30, D_MODEL, seed=7)
    assert torch.equal(pair[0].encode(x, 3).values, pair[1].encode(x.unsqueeze(1)).values)
    assert torch.equal(pair[0].reconstruct(x, 3), pair[1].reconstruct(x.unsqueeze(1), 3))
    # And settings of one layer at once make no other class.
    alone = asdict(SETTINGS) | {"layers_at_once": 1}
    assert type(create(alone, (3,), mean, scale)) is TopK
    assert type(create(asdict(SETTINGS), LAYERS, normal(3, D_MODEL), torch.ones(3))) is Crosscoder


@pytest.mark.parametrize("choose", [choose_step, EagerStep])
def test_planted_latents_that_layers_share_are_recovered(choose):
    """Each writes another direction, of another length, at every layer; some skip a layer."""
    n_layers, d_model = len(LAYERS), 16
    lengths = normal(D_SAE, n_layers, seed=1).abs() + 0.2
    lengths[:4, 0] = 0
    rows = F.normalize(normal(D_SAE, n_layers, d_model, seed=0), dim=-1) * lengths[..., None]
    rows = F.normalize(rows.flatten(1), dim=1)
    mean, scale = torch.zeros(n_layers, d_model), torch.ones(n_layers)
    sae = Crosscoder(LAYERS, D_SAE, K, mean, scale)
    sae.initialise(torch.Generator().manual_seed(1))

    def batches():
        for step in range(SETTINGS.n_steps):
            generator = torch.Generator().manual_seed(step)
            chosen = torch.rand(256, D_SAE, generator=generator).topk(K, dim=1).indices
            strength = 1 + torch.rand(256, K, generator=generator)
            x = (rows[chosen] * strength.unsqueeze(2)).sum(1)
            yield x * (x.shape[1] / x.square().sum(1).mean()).sqrt()

    history = train(Trainer(sae, SETTINGS, choose), batches())
    found = sae.W_dec.detach()
    assert (F.normalize(rows, dim=1) @ F.normalize(found, dim=1).t()).amax(1).mean() >= 0.9
    matched = (rows @ found.t()).argmax(1)
    by_layer = found[matched].unflatten(1, (n_layers, d_model)).norm(dim=-1)
    # What a latent does not write, is not written by the one that was found for it.
    assert by_layer[:4, 0].mean() < 0.1 < by_layer[4:].mean()
    # A step of 256 tokens reads each of them at three layers.
    assert [row["activations"] for row in history] == [768 * row["step"] for row in history]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = all_layers(tmp_path_factory.mktemp("activations"))
    return data.shards, data.mean, data.scale


def test_rows_are_tokens_at_all_layers_in_the_order_of_per_layer_saes(data):
    shards, mean, scale = data
    layers, steps = [0, 2], range(3, 40)
    with patch.object(aligned, "BatchPlan", wraps=aligned.BatchPlan) as plan:
        together = list(aligned_batches(shards, layers, mean[layers], scale[layers], 128, 5, steps))
    assert plan.call_count == 1, "for all layers: of a long training it takes many MB"
    apart = [
        normalised_batches(shards, [each], mean[[each]], scale[[each]], 128, 5, steps)
        for each in layers
    ]
    width = mean.shape[1]
    n_batches = 0
    for batch, first, last in zip(together, *apart, strict=True):
        assert torch.equal(batch[:, :width], first)
        assert torch.equal(batch[:, width:], last)
        n_batches += 1
    assert n_batches == len(steps)
    # Each row is one token: one of the cached ones has these activations at both layers.
    raw = [torch.cat([shard.layer(each) for shard in shards]) for each in layers]
    own = torch.cat([(x - mean[i]) / scale[i] for i, x in zip(layers, raw)], 1).float()
    distances = torch.cdist(batch.double(), own.double())
    assert distances.amin(1).max() < 1e-4 < distances.topk(2, dim=1, largest=False)[0][:, 1].min()


def test_what_is_said_of_it_is_counted_layer_by_layer(data):
    """FVU of every layer by its own definition, one code for all, dead if silent on all."""
    shards, mean, scale = data
    sae = Crosscoder(range(N_LAYERS), 24, 3, mean, scale)
    sae.initialise(torch.Generator().manual_seed(0))
    sae.requires_grad_(False)
    x = torch.stack([torch.cat([shard.layer(i) for shard in shards]) for i in range(3)], 1)
    reconstruction, latents = sae.reconstruct(x), sae.encode(x)
    error = (x - reconstruction).double().square().sum((0, 2))
    fvu = (error / (x - x.mean(0)).double().square().sum((0, 2))).tolist()
    (layers,) = sae.readings
    found = evaluate_reading(sae, layers, reading_blocks(shards, layers))
    active = (latents.values > 0).sum().item() / len(x)
    assert [each.compute()["fvu"] for each in found] == pytest.approx(fvu, rel=1e-5)
    assert [each.compute()["l0"] for each in found] == pytest.approx([active] * 3)
    fired = torch.bincount(latents.indices[latents.values > 0], minlength=24)
    assert all(torch.equal(each.fired, fired) for each in found)
    score = validate(sae, shards)
    assert score.fvu == pytest.approx(sum(fvu) / 3, rel=1e-5)
    assert score.dead_fraction == (fired == 0).double().mean().item()


def test_a_crosscoder_is_the_same_after_it_was_a_file(tmp_path):
    sae = crosscoder()
    save_sae(tmp_path, sae, SETTINGS, "crosscoder-1of2", "f" * 64)
    again = load_sae(tmp_path)
    assert type(again) is Crosscoder
    assert (again.config["d_model"], again.config["layers_at_once"]) == (D_MODEL, 3)
    x = normal(10, len(LAYERS), D_MODEL)
    assert torch.equal(again.reconstruct(x), sae.reconstruct(x))


def test_one_layer_alone_has_no_code_and_there_is_nothing_to_export():
    sae = crosscoder()
    with pytest.raises(InputError, match=r"at all of its layers, \[1, 3, 4\], together"):
        sae.encode(normal(10, D_MODEL), 3)
    with pytest.raises(InputError, match=r"no SAE of one of them"):
        sae.fold(3)
    with pytest.raises(InputError, match=r"serves the layers \[1, 3, 4\], not 2"):
        sae.decode(sae.encode(normal(10, 3, D_MODEL)), 2)
    settings = asdict(SETTINGS) | {"architecture": "relu"}
    with pytest.raises(InputError, match="no crosscoder of the architecture relu"):
        create(settings, LAYERS, normal(3, D_MODEL), torch.ones(3))


def test_it_is_not_put_into_a_running_model(tmp_path):
    """Text of as many tokens as it has layers would pass for one token at all of them."""
    (tmp_path / "plan.json").touch()
    run, saes = Run(tmp_path), dict.fromkeys(LAYERS, crosscoder())
    with pytest.raises(InputError, match=r"layers \[1, 3, 4\] cannot take the place of layer 1"):
        run.hooks(saes)
    with pytest.raises(InputError, match="of those that have not been run"):
        run.spliced(torch.nn.Module(), saes).__enter__()
