"""The SAE module: normalisation per layer, what it takes over, and what a shared SAE refuses."""

import re

import pytest
import torch
import torch.nn.functional as F
from dense_latents import dense

from clustersae.runtime.errors import InputError
from clustersae.sae import native
from clustersae.sae.architectures.topk import TopK

D_MODEL, D_SAE, K = 6, 20, 4


@pytest.fixture
def shared():
    """An SAE for three layers of very different mean and scale, with biases that matter."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(3, D_MODEL, generator=generator) * torch.tensor([[1.0], [10.0], [100.0]])
    sae = TopK((1, 2, 5), D_SAE, K, mean, torch.tensor([0.1, 1.0, 30.0]))
    sae.initialise(generator)
    with torch.no_grad():
        sae.b_enc.normal_(generator=generator).mul_(0.3)
        sae.b_dec.normal_(generator=generator).mul_(0.3)
    return sae


def activations(sae, layer, n=40):
    index = sae.layers.index(layer)
    noise = torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(layer))
    return noise * sae.layer_scale[index] + sae.layer_mean[index]


def test_reconstruction_follows_the_formula(shared):
    x = activations(shared, 2)
    normalised = (x - shared.layer_mean[1]) / shared.layer_scale[1]
    pre = F.relu((normalised - shared.b_dec) @ shared.W_enc + shared.b_enc)
    threshold = pre.topk(K, dim=1).values[:, -1:]
    latents = torch.where(pre >= threshold, pre, 0.0)
    expected = (latents @ shared.W_dec + shared.b_dec) * shared.layer_scale[1] + shared.layer_mean[
        1
    ]
    torch.testing.assert_close(shared.reconstruct(x, 2), expected)
    torch.testing.assert_close(dense(shared.encode(x, 2), D_SAE), latents)


@pytest.mark.parametrize("scale", ["one", "per dimension"])
@pytest.mark.parametrize("layer", [1, 2, 5])
def test_a_bounded_reconstruction_is_no_longer_than_what_it_replaces(shared, layer, scale):
    if scale == "per dimension":
        shared.layer_scale = shared.layer_scale[:, None] * torch.linspace(0.5, 2, D_MODEL)
    with torch.no_grad():
        shared.W_enc.mul_(0.5)
    x = activations(shared, layer)
    plain, bounded = shared.reconstruct(x, layer), shared.reconstruct(x, layer, bounded=True)
    length = {
        name: shared.normalise(each, layer).norm(dim=1)
        for name, each in (("x", x), ("plain", plain), ("bounded", bounded))
    }
    longer = length["plain"] > length["x"]
    assert 0 < longer.sum() < len(x)
    assert torch.equal(bounded[~longer], plain[~longer])
    torch.testing.assert_close(length["bounded"][longer], length["x"][longer])
    direction = [F.normalize(shared.normalise(each, layer), dim=1) for each in (plain, bounded)]
    torch.testing.assert_close(*direction, rtol=1e-3, atol=1e-4)


def test_a_mean_has_no_length_and_stays_without_one(shared):
    x = shared.layer_mean[1].expand(2, -1)
    assert torch.equal(shared.reconstruct(x, 2, bounded=True), x)


def test_saes_that_overshoot_along_one_direction_run_away_unless_bounded():
    """Two latents that overlap, cancelled by biases on what is as long as in training."""
    sae = TopK((0,), 2, 2, torch.zeros(1, 2), torch.ones(1))
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.8, 0.6]]))
        sae.W_enc.copy_(sae.W_dec.t())
        sae.b_enc.fill_(-0.4)
    found = {False: torch.tensor([[1.2, 0.4]]), True: torch.tensor([[1.2, 0.4]])}
    for bounded in found:
        start = found[bounded].norm()
        for _ in range(15):
            found[bounded] = sae.reconstruct(found[bounded], bounded=bounded)
        grown = found[bounded].norm() / start
        assert (grown > 50) if not bounded else (grown <= 1 + 1e-5)


def test_a_one_layer_cluster_is_a_plain_sae_and_needs_no_layer():
    generator = torch.Generator().manual_seed(0)
    sae = TopK((3,), D_SAE, K, torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(generator)
    x = torch.randn(10, D_MODEL, generator=generator)
    pre = x @ sae.W_enc
    values, indices = pre.topk(K, dim=1)
    plain = torch.zeros_like(pre).scatter(1, indices, F.relu(values)) @ sae.W_dec
    torch.testing.assert_close(sae.reconstruct(x), plain)
    torch.testing.assert_close(sae.reconstruct(x, 3), plain)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("gradient", [True, False])
def test_what_is_missing_of_k_latents_is_none(shared, monkeypatch, compiled, gradient):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    with torch.no_grad():
        shared.b_enc[2:] = -1e4
    x = activations(shared, 2)
    expected = F.relu(shared.pre_activations(shared.normalise(x, 2)))
    found = shared.requires_grad_(gradient).encode(x, 2)
    assert ((expected > 0).sum(1) < K).all()
    torch.testing.assert_close(dense(found, D_SAE), expected)
    assert found.values.requires_grad == gradient


def test_a_shared_sae_has_no_default_layer(shared):
    x = activations(shared, 1)
    with pytest.raises(InputError, match=r"serves the layers \[1, 2, 5\], not None"):
        shared.encode(x)
    with pytest.raises(InputError, match="not 3"):
        shared.encode(x, 3)


def test_training_forward_equals_encode_and_decode(shared):
    x = activations(shared, 5)
    output = shared.forward_training(shared.normalise(x, 5))
    torch.testing.assert_close(
        shared.denormalise(output.reconstruction, 5), shared.reconstruct(x, 5)
    )


def test_initialisation_has_unit_rows_and_a_tied_encoder(shared):
    torch.testing.assert_close(shared.W_dec.norm(dim=1), torch.ones(D_SAE))
    assert torch.equal(shared.W_enc, shared.W_dec.t())


def test_k_beyond_the_latents_is_refused():
    with pytest.raises(InputError, match=r"sae\.k is 9"):
        TopK((0,), 8, 9, torch.zeros(1, 4), torch.ones(1))


def fresh(layers, d_sae=D_SAE, k=K, d_model=D_MODEL):
    n = len(layers)
    mean = torch.arange(n * d_model, dtype=torch.float32).view(n, d_model)
    sae = TopK(layers, d_sae, k, mean, torch.arange(1.0, n + 1))
    sae.initialise(torch.Generator().manual_seed(7))
    return sae


@pytest.mark.parametrize("layers", [(2,), (1, 5), (1, 2, 5)])
def test_what_is_taken_over_is_the_weights_alone(shared, layers):
    own = fresh(layers)
    mean, scale = own.layer_mean.clone(), own.layer_scale.clone()
    own.take_over(shared)
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        assert torch.equal(getattr(own, name), getattr(shared, name))
    assert torch.equal(own.layer_mean, mean)
    assert torch.equal(own.layer_scale, scale)
    x = torch.randn(10, D_MODEL, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        own.forward_training(x).reconstruction, shared.forward_training(x).reconstruction
    )


def test_taken_over_weights_are_copies(shared):
    own, before = fresh((2,)), shared.W_dec.detach().clone()
    own.take_over(shared)
    with torch.no_grad():
        own.W_dec.zero_()
    assert torch.equal(shared.W_dec, before)
    assert own.W_dec.requires_grad


@pytest.mark.parametrize("change", [{"d_sae": 21}, {"k": 3}, {"d_model": 7}])
def test_weights_of_another_shape_are_not_taken_over(shared, change):
    own = {"d_sae": D_SAE, "d_model": D_MODEL, "k": K} | change
    told = ", ".join(f"{name} = {value}" for name, value in own.items())
    with pytest.raises(InputError, match=f"{told} cannot start from one with 20, 6, 4"):
        fresh((2,), **change).take_over(shared)


@pytest.mark.parametrize("layers", [(3,), (1, 3), (1, 2, 3, 5)])
def test_weights_are_not_taken_over_by_layers_that_they_were_not_trained_on(shared, layers):
    own = fresh(layers)
    before = own.W_dec.detach().clone()
    told = re.escape(f"layers {list(layers)} cannot start from one that serves [1, 2, 5]")
    with pytest.raises(InputError, match=told):
        own.take_over(shared)
    assert torch.equal(own.W_dec, before)


def test_weights_of_another_layer_are_taken_over_where_that_is_meant(shared):
    own = fresh((3,))
    mean = own.layer_mean.clone()
    own.take_over(shared, is_other_layer=True)
    assert torch.equal(own.W_dec, shared.W_dec)
    assert torch.equal(own.layer_mean, mean)
    with pytest.raises(InputError, match=r"cannot take over as another layer from .* \[1, 2, 5\]"):
        fresh((2,)).take_over(shared, is_other_layer=True)
