"""What SAEs are trained and measured with on a GPU, against slow and plain references."""

import numpy as np
import pytest
import torch
from dense_latents import dense
from sae_settings_of import topk_settings

from clustersae.activations.batches import normalised_batches
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.sae import sparse
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.loss import auxk_loss, fvu_loss
from clustersae.sae.training import Trainer

pytestmark = pytest.mark.gpu
#: The last is that of a real model, d_model 576 and 16 x as wide.
SHAPES = [(64, 96, 384, 12), (256, 384, 3072, 32), (512, 576, 9216, 32)]


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def autoencoder(d_model, d_sae, k, where="cpu", dtype=torch.float32):
    sae = TopK((0,), d_sae, k, torch.zeros(1, d_model), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(1))
    with torch.no_grad():
        sae.b_enc.copy_(normal(d_sae, seed=2) / 100)
        sae.b_dec.copy_(normal(d_model, seed=3) / 100)
    return sae.to(where, dtype)


def dense_loss(sae, x):
    """In full, by autograd alone."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    values, indices = torch.topk(pre, sae.k, dim=1)
    latents = torch.zeros_like(pre).scatter(1, indices, torch.relu(values))
    return fvu_loss(x, latents @ sae.W_dec + sae.b_dec)


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_are_those_of_dense_products_in_float64(where, close, shape):
    n, d_model, d_sae, k = shape
    x = normal(n, d_model)
    ours, plain = (autoencoder(d_model, d_sae, k, place) for place in (where, "cpu"))
    plain.double()
    loss = fvu_loss(x.to(where), ours.forward_training(x.to(where)).reconstruction)
    expected = dense_loss(plain, x.double())
    loss.backward()
    expected.backward()
    close(loss, expected, 1e-5, "loss")
    for name, weight in plain.named_parameters():
        close(getattr(ours, name).grad, weight.grad, 1e-3 if name == "b_dec" else 1e-4, name)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transposed_product_is_the_dense_one(where, close, shape):
    n, d_model, d_sae, k = shape
    indices = torch.stack([torch.randperm(d_sae)[:k] for _ in range(n)])
    values, x = normal(n, k, seed=1).abs(), normal(n, d_model, seed=2)
    found = sparse.transpose(indices.to(where), d_sae).product(values.to(where), x.to(where))
    expected = torch.zeros(n, d_sae, dtype=torch.float64).scatter(1, indices, values.double())
    close(found, expected.t() @ x.double(), 1e-6)


def test_products_with_rows_are_those_of_gathered_rows(where, close):
    x, rows = normal(128, 96), normal(384, 96, seed=1)
    indices = torch.randint(384, (128, 12))
    found = sparse._products_with_rows(x.to(where), rows.to(where), indices.to(where))
    close(found, torch.einsum("nd,nkd->nk", x.double(), rows.double()[indices]), 1e-6)


def test_encoding_picks_the_latents_that_the_cpu_picks(where, close):
    x = normal(512, 384)
    sae = autoencoder(384, 3072, 32)
    expected = dense(sae.encode(x), 3072)
    latents = autoencoder(384, 3072, 32, where).encode(x.to(where))
    close(dense(type(latents)(*(each.cpu() for each in latents)), 3072), expected, 1e-5)


def test_auxk_gradients_are_those_of_float64(where, close):
    x, dead = normal(128, 96), torch.arange(40, 200)
    gradients = []
    for place, dtype in ((where, torch.float32), ("cpu", torch.float64)):
        sae = autoencoder(96, 384, 12, place, dtype)
        data = x.to(place, dtype)
        auxk_loss(sae, data, sae.forward_training(data), dead.to(place)).backward()
        gradients.append((sae.W_enc.grad, sae.W_dec.grad))
    for name, found, expected in zip(("W_enc", "W_dec"), *gradients):
        close(found, expected, 1e-4, name)


def trained(where, n_steps, start=None):
    lengths = {"n_steps": 60, "warmup_steps": 5, "decay_steps": 10, "dead_after": 2000}
    settings = topk_settings(384, 12, batch_size=256, **lengths)
    trainer = Trainer(autoencoder(96, 384, 12, where), settings)
    if start:
        trainer.load_state(start)
    for step in range(trainer.step_number, n_steps):
        trainer.step(normal(256, 96, seed=step).to(where))
    return trainer


def test_the_same_training_has_the_same_bits_twice(where, same):
    one, other = (trained(where, 40) for _ in range(2))
    for name, value in one.state().items():
        same(value, other.state()[name], name)


def test_a_training_taken_up_again_ends_with_the_same_bits(where, same):
    whole = trained(where, 40)
    half = {name: value.clone() for name, value in trained(where, 23).state().items()}
    for name, value in trained(where, 40, half).state().items():
        same(value, whole.state()[name], name)


def test_a_training_learns_what_the_cpu_learns(where, close):
    ours, plain = trained(where, 40), trained("cpu", 40)
    close(ours.sums[:1] / 40, plain.sums[:1] / 40, 1e-3, "mean FVU")
    close(ours.sae.W_dec, plain.sae.W_dec, 5e-2, "W_dec")


def test_metrics_are_those_of_the_cpu(where, close):
    x = normal(2000, 96)
    found, expected = (
        evaluate_layer(autoencoder(96, 384, 12, place), 0, x.split(512)).compute()
        for place in (where, "cpu")
    )
    for name, value in expected.items():
        close(torch.tensor(float(found[name])), torch.tensor(float(value)), 1e-4, name)


class HeldRows:
    """Activations of two layers, as a shard gives them."""

    def __init__(self, n_rows, where="cpu", seed=0):
        self.n_rows, self.layers = n_rows, (0, 3)
        self.device = torch.device(where)
        self._rows = normal(2, n_rows, 16, seed=seed).to(where, torch.bfloat16)

    def layer(self, layer, start=0, stop=None):
        return self._rows[self.layers.index(layer)][start:stop].float()

    def rows(self, layer, rows):
        return self._rows[self.layers.index(layer)][rows].float()


@pytest.mark.parametrize("layers", [(0,), (0, 3)])
def test_batches_from_the_device_have_the_bits_of_those_from_the_host(where, same, layers):
    mean, scale = normal(len(layers), 16, seed=5), 1 + normal(len(layers), seed=6).abs()

    def batches(place, to):
        shards = [HeldRows(700, place, seed=1), HeldRows(450, place, seed=2)]
        read = normalised_batches(shards, layers, mean, scale, 256, 3, range(7), to)  # type: ignore[arg-type]
        return list(read)

    for found, expected in zip(batches(where, where), batches("cpu", "cpu"), strict=True):
        same(found, expected)
