"""The kernels in Triton and the step that they make, against slow and plain references.

On a GPU, or on a CPU in Triton's interpreter, which tests/unit/sae/test_triton.py does.
"""

import itertools
import os

import pytest
import torch
from sae_settings_of import topk_settings

from clustersae.sae import sparse
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep, rates
from clustersae.sae.training import Trainer, choose_step
from clustersae.sae.triton_step import TritonStep
from gpu.test_sae_on_gpu import normal

pytestmark = pytest.mark.gpu
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: n, d_model, d_sae, k: none is a power of two or fills a block; k = 1; latents of several blocks.
TINY = [(5, 24, 37, 4), (3, 130, 50, 1), (4, 7, 1100, 9), (2, 5, 6, 6)]
SHAPES = TINY if INTERPRETED else [*TINY, (512, 576, 9216, 32), (64, 768, 12288, 300)]
KINDS = ["normal", "ties", "equal", "zeros", "infinite", "no number"]


@pytest.fixture
def kernels(where):
    """The module, where its kernels can run."""
    if where.type == "cpu" and not INTERPRETED:
        pytest.skip("the Triton step is not available on a CPU")
    return pytest.importorskip("clustersae.sae.triton_kernels")


def pre_activations(kind, n, m):
    pre = normal(n, m)
    if kind == "ties":
        return pre.round()
    if kind == "equal":
        return torch.full((n, m), -0.5)
    if kind == "zeros":
        return torch.where(pre > 2, pre, 0.0 * pre.sign())  # of both signs
    if kind == "infinite":
        return torch.where(pre.abs() > 1.5, pre * torch.inf, pre)
    if kind == "no number":
        return torch.where(pre > 1, pre.sign() * torch.nan, pre)
    return pre


@pytest.mark.parametrize("kind", KINDS)
def test_the_k_largest_are_those_of_a_stable_sort(where, kernels, same, kind):
    for (n, _, m, k), dtype in itertools.product(SHAPES, (torch.float32, torch.bfloat16)):
        pre = pre_activations(kind, n, m).to(dtype)
        bias = (4 * normal(m, seed=1)).round() / 4
        if kind in ("equal", "zeros"):
            bias = -torch.zeros(m)
        full = pre.float() + bias
        expected = full.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
        indices, values = kernels.largest(pre.to(where), bias.to(where), k, None)
        same(indices, expected, f"{k} indices of {m}, {dtype}")
        wanted = torch.relu(full.gather(1, expected))
        same(values.cpu().nan_to_num(7.25), wanted.nan_to_num(7.25), f"{k} values of {m}, {dtype}")


def test_columns_go_by_their_names(where, kernels, same):
    pre = normal(4, 21)
    names = torch.randint(1000, (4, 21), dtype=torch.int32)
    indices, _ = kernels.largest(pre.to(where), torch.zeros(21).to(where), 5, names.to(where))
    same(indices, names.gather(1, pre.topk(5).indices.sort(dim=1).values))


def latents(n, m, k):
    """indices, int32 [n, k], and values of a random batch; some are 0, and some latents silent."""
    busy = max(k, m - m // 4)
    indices = torch.stack([torch.randperm(busy)[:k].sort().values for _ in range(n)])
    return indices.int(), torch.relu(normal(n, k, seed=1) + 0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_with_rows_are_those_of_gathered_rows(where, kernels, close, shape):
    n, d, m, k = shape
    x, rows, bias, indices = (
        normal(n, d),
        normal(m, d, seed=1),
        normal(m, seed=2),
        latents(n, m, k)[0],
    )
    found = kernels.products(*(each.to(where) for each in (x, rows, bias, indices)))
    at = indices.long()
    expected = torch.einsum("nd,nkd->nk", x.double(), rows.double()[at]) + bias.double()[at]
    close(found, expected, 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_reconstructions_and_their_gradients_are_those_of_dense_products(
    where, kernels, close, shape
):
    n, d, m, k = shape
    (indices, values), x = latents(n, m, k), normal(n, d)
    W_dec, b_dec = normal(m, d, seed=3), normal(d, seed=4)
    given = (x, W_dec, b_dec, indices, values)
    grad, grad_values, squares = kernels.reconstruct(*(each.to(where) for each in given))
    at = indices.long()
    dense = torch.zeros(n, m, dtype=torch.float64).scatter(1, at, values.double())
    off = dense @ W_dec.double() + b_dec.double() - x.double()
    close(grad, 2 * off / (n * d), 1e-6, "gradient of the reconstruction")
    close(squares, off.square().sum(1), 1e-6, "squares")
    expected = (2 * off / (n * d) @ W_dec.double().t()).gather(1, at) * (values > 0)
    close(grad_values, expected, 1e-6, "gradient of the values")


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_over_entries_are_dense_products(where, kernels, close, same, shape):
    n, d, m, k = shape
    indices, values = latents(n, m, k)
    grad_values, grad, centred = normal(n, k, seed=2), normal(n, d, seed=3), normal(n, d, seed=4)
    layout = sparse.transpose(indices.long(), m)
    given = (layout.row_starts, layout.order, values, grad_values, grad, centred)
    found = kernels.sum_entries(*(each.to(where) for each in given))
    again = kernels.sum_entries(*(each.to(where) for each in given))
    empty, at = torch.zeros(n, m, dtype=torch.float64), indices.long()
    forth, back = (empty.scatter(1, at, each.double()).t() for each in (values, grad_values))
    for name, one, other, expected in zip(
        ("W_dec", "W_enc", "b_enc"),
        found,
        again,
        (forth @ grad.double(), back @ centred.double(), back.sum(1)),
    ):
        close(one, expected, 1e-6, name)
        same(one, other, f"{name} again")
        silent = layout.row_starts[1:] == layout.row_starts[:-1]
        assert not one.cpu()[silent].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_move_by_clipped_gradients_or_not_at_all(where, kernels, close, same, shape):
    """The first step of two latents of three, at rates of their own; the third has no gradient."""
    _, d, m, _ = shape
    moved = torch.arange(m) % 3 > 0
    bias = normal(m) * moved
    dec, enc = normal(m, d, seed=1), normal(m, d, seed=2)
    W_dec, W_enc = torch.nn.functional.normalize(normal(m, d, seed=3)), normal(m, d, seed=4)
    moments = [normal(m, d, seed=5), normal(m, d, seed=6).square()]
    moments += [normal(m, d, seed=7), normal(m, d, seed=8).square()]
    rate, epsilon = (each.float() for each in rates(1.0 + torch.arange(m).double(), 0.01))
    clip = torch.tensor(0.4)

    there = [each.to(where) for each in (dec, enc, bias)]
    on_device = W_dec.to(where, copy=True)
    along, squares = kernels.measure(*there, on_device)
    row = W_dec.double()
    part = (dec.double() * row).sum(1, keepdim=True)
    rest = dec.double() - part * row
    size = rest.square().sum(1) + enc.double().square().sum(1) + bias.double().square()
    close(along.cpu()[moved], part[moved, 0], 1e-6, "along")
    close(squares, size * moved, 1e-6, "squares")

    found = [on_device, *(each.to(where, copy=True) for each in (W_enc, *moments))]
    numbers = [each.to(where) for each in (clip, rate, epsilon)]
    kernels.update(*there, along, *numbers, *found, 0.9, 0.999)
    expected = []
    for weight, gradient, first, second in (
        (W_dec, rest, *moments[:2]),
        (W_enc, enc.double(), *moments[2:]),
    ):
        step = 0.4 * gradient
        first = first.double() + 0.1 * (step - first.double())
        second = 0.999 * second.double() + 0.001 * step.square()
        by = rate.double()[:, None] * first / (second.sqrt() + epsilon.double()[:, None])
        expected += [weight.double() + by, first, second]
    expected[0] /= expected[0].norm(dim=1, keepdim=True)
    order = [0, 3, 1, 2, 4, 5]  # W_dec, W_enc and the moments of both
    for one, old, new in zip(found, (W_dec, W_enc, *moments), (expected[i] for i in order)):
        close(one.cpu()[moved], new[moved], 1e-6)
        same(one.cpu()[~moved], old[~moved])


SETTINGS = {
    **{"n_steps": 60, "batch_size": 256, "warmup_steps": 5, "decay_steps": 10, "dead_after": 160},
    **({"batch_size": 8, "dead_after": 40} if INTERPRETED else {}),
}
STEP_SHAPES = [(12, 20, 4), (7, 19, 1)] if INTERPRETED else [(96, 384, 12), (576, 4608, 32)]


def trained(where, choose, n_steps, shape, start=None, **change):
    """A trainer after so many steps; some of its latents are dead by then."""
    d_model, d_sae, k = shape
    settings = topk_settings(d_sae, k, **(SETTINGS | change))
    sae = TopK((0,), d_sae, k, torch.zeros(1, d_model), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Tied to the decoder, the gradient of a lone latent is nothing but rounding, and Adam makes
        # whole steps of it.
        sae.W_enc.add_(0.1 * normal(*sae.W_enc.shape, seed=2))
        sae.b_enc[::5] -= 1e3
    trainer = Trainer(sae.to(where), settings, choose)
    if start:
        trainer.load_state(start)
    for step in range(trainer.step_number, n_steps):
        trainer.step(normal(settings.batch_size, d_model, seed=step).to(where))
    return trainer


def by_triton(kernels, **options):
    return lambda sae, settings: TritonStep(sae, settings, kernels, **options)


@pytest.mark.parametrize("change", [{}, {"max_grad_norm": 1e-7}], ids=["", "clipped"])
@pytest.mark.parametrize("n_steps", [1, 20])
@pytest.mark.parametrize("shape", STEP_SHAPES)
def test_steps_in_float32_are_those_of_pytorch(where, kernels, close, same, shape, n_steps, change):
    ours = trained(where, by_triton(kernels, halves=False), n_steps, shape, **change)
    plain = trained(where, EagerStep, n_steps, shape, **change)
    for name, weight in plain.sae.named_parameters():
        close(getattr(ours.sae, name), weight, 1e-5, name)
    same(ours.silent_for, plain.silent_for, "silent for")
    same(ours.dead, plain.dead, "dead")
    assert len(plain.dead) == (0 if n_steps == 1 else -(-shape[1] // 5))
    assert ours.metrics() == pytest.approx(plain.metrics(), rel=1e-5)


@pytest.mark.parametrize("shape", STEP_SHAPES)
def test_bfloat16_products_lead_to_the_latents_and_values_of_float32(where, kernels, close, shape):
    """The first step: of latents that are told by bfloat16, nearly all are the largest."""
    step = trained(where, by_triton(kernels), 0, shape).optimise
    x = normal(16 if INTERPRETED else 4096, shape[0]).to(where)
    with torch.no_grad():
        indices, values = step._encode(x - step.b_dec)
    pre = (x - step.b_dec).double() @ step.sae.W_enc.double() + step.sae.b_enc.double()
    close(values, torch.relu(pre.gather(1, indices.long())), 1e-6, "values")
    kth = pre.topk(shape[2], dim=1).values[:, -1:]
    chosen = pre.gather(1, indices.long()) > kth - 1e-6
    close(chosen.double().mean()[None], torch.ones(1), 1e-3, "share of the latents")


@pytest.mark.parametrize("halves", [False, True])
def test_the_same_training_has_the_same_bits_and_can_be_taken_up_again(
    where, kernels, same, halves
):
    choose, shape = by_triton(kernels, halves=halves), STEP_SHAPES[0]
    whole, again = (trained(where, choose, 8, shape) for _ in range(2))
    half = {name: each.clone() for name, each in trained(where, choose, 5, shape).state().items()}
    resumed = trained(where, choose, 8, shape, half)
    for name, value in whole.state().items():
        same(again.state()[name], value, name)
        same(resumed.state()[name], value, f"{name}, taken up again")


def test_what_is_no_number_spreads_so_that_it_is_seen(where, kernels):
    for value in (torch.nan, torch.inf):
        for halves in (False, True):
            trainer = trained(where, by_triton(kernels, halves=halves), 1, STEP_SHAPES[0])
            x = normal(SETTINGS["batch_size"], STEP_SHAPES[0][0])
            x[3, 4] = value
            trainer.step(x.to(where))
            assert not trainer.sums[0].isfinite()


def test_recorded_steps_have_the_bits_of_single_ones(where, kernels, same):
    if where.type != "cuda":
        pytest.skip("graphs are recorded on a GPU alone")
    one, other = (
        trained(where, by_triton(kernels, recorded=recorded), 22, STEP_SHAPES[0])
        for recorded in (True, False)
    )
    for name, value in one.state().items():
        same(value, other.state()[name], name)


def test_an_sae_on_a_gpu_is_trained_by_triton(where, kernels):
    if where.type != "cuda":
        pytest.skip("on a CPU another step is chosen")
    assert trained(where, choose_step, 0, STEP_SHAPES[0]).optimise.name == "triton"
