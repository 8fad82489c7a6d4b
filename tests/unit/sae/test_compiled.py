"""The compiled step against PyTorch's own operations, which are its reference."""

import ctypes

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_settings_of import topk_settings

from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae import native
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.compiled import CompiledStep
from clustersae.sae.eager import EagerStep
from clustersae.sae.training import Trainer, choose_step

LIBRARY = native.library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="there is no C compiler here")
WEIGHTS = ("W_dec", "W_enc", "b_enc", "b_dec")


def largest(pre: torch.Tensor, k: int, bias: torch.Tensor | None = None):
    """indices and values [n, k] as topk.c gives them."""
    assert LIBRARY is not None
    n, m = pre.shape
    bias = torch.zeros(m) if bias is None else bias
    indices, values = torch.full((n, k), -1, dtype=torch.int32), torch.full((n, k), -1.0)
    where = [native.address(each) for each in (pre, bias, indices, values)]
    LIBRARY.topk(where[0], where[1], n, m, k, where[2], where[3], torch.get_num_threads())
    return indices.long(), values


@settings(deadline=None, max_examples=200)
@given(
    n=st.integers(1, 5),
    m=st.integers(1, 1500),
    k=st.integers(1, 90),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["normal", "ties", "few positive", "one group", "huge", "tiny"]),
)
def test_the_k_largest_are_those_of_pytorch(n, m, k, seed, kind):
    k = min(k, m)
    pre = torch.randn(n, m, generator=torch.Generator().manual_seed(seed))
    if kind == "ties":
        pre = pre.round()
    elif kind == "few positive":
        pre = pre - 2.5
    elif kind == "one group":  # the largest are neighbours in memory, and multiples of each other
        pre[:, :: max(1, m // 7)] += 9
    elif kind == "huge":
        pre = pre.sign() * pre.abs().pow(40)
    elif kind == "tiny":
        pre = pre * 1e-42
    bias = 0.5 * pre[0].roll(1)
    indices, values = largest(pre, k, bias)
    expected = torch.topk(torch.relu(pre + bias), k, dim=1).values
    torch.testing.assert_close(values.sort(dim=1, descending=True).values, expected, rtol=0, atol=0)
    active = values > 0
    assert torch.equal((pre + bias).gather(1, indices)[active], values[active])
    found = native.largest(pre + bias, k)
    assert found
    assert torch.equal(found[0], values)
    assert torch.equal(found[1], indices)
    assert not indices[~active].any()
    for row, on in zip(indices, active):
        assert len(row[on].unique()) == on.sum()


def test_what_is_no_number_is_never_among_the_largest():
    pre = torch.tensor([[1.0, float("nan"), 3.0, -1.0, float("inf"), 2.0]])
    indices, values = largest(pre, 3)
    assert sorted(zip(values[0].tolist(), indices[0].tolist())) == [
        (2, 5),
        (3, 2),
        (float("inf"), 4),
    ]


def configuration(**change) -> SAESettings:
    base = {
        **{"d_sae": 96, "k": 6, "n_steps": 400, "batch_size": 128, "learning_rate": 3e-3},
        **{"warmup_steps": 5, "decay_steps": 12, "auxk_alpha": 0.0},
    }
    return topk_settings(**(base | change))


def trainer(these: SAESettings, choose, d_model: int = 24) -> Trainer:
    sae = TopK((0,), these.d_sae, these.k, torch.zeros(1, d_model), torch.ones(1))
    generator = torch.Generator().manual_seed(these.seed)
    sae.initialise(generator)
    with torch.no_grad():
        # Tied to the decoder, the gradient of a lone latent is nothing but rounding, and Adam makes
        # whole steps of it.
        sae.W_enc += 0.1 * torch.randn(sae.W_enc.shape, generator=generator)
    return Trainer(sae, these, choose)


def batches(n: int, size: int, d_model: int = 24, n_features: int = 60):
    """Sparse sums of a known dictionary, some of whose entries are rare."""
    generator = torch.Generator().manual_seed(5)
    rows = F.normalize(torch.randn(n_features, d_model, generator=generator), dim=1)
    rarity = torch.logspace(-0.5, -3, n_features)
    for _ in range(n):
        on = torch.rand(size, n_features, generator=generator) < rarity
        x = (on * (1 + torch.rand(size, n_features, generator=generator))) @ rows
        yield x * 3 + 0.1 * torch.randn(size, d_model, generator=generator)


def compiled_with(halves: bool):
    return lambda *given: CompiledStep(*given, LIBRARY, halves)


@pytest.fixture(params=[False, True], ids=["single", "halves"])
def choose(request):
    return compiled_with(request.param)


def both(choose, these: SAESettings, n: int, size: int, **shape) -> tuple[Trainer, Trainer]:
    compiled = trainer(these, choose, **shape)
    eager = trainer(these, EagerStep, **shape)
    for batch in batches(n, size, **shape):
        compiled.step(batch)
        eager.step(batch)
    return compiled, eager


def distance(one: Trainer, other: Trainer) -> float:
    """The largest relative distance of their weights."""
    pairs = [(getattr(one.sae, name), getattr(other.sae, name)) for name in WEIGHTS]
    return max(((a - b).norm() / b.norm()).item() for a, b in pairs)


@pytest.mark.parametrize("d_model", [24, 7, 33])
@pytest.mark.parametrize("size", [128, 3, 65])
@pytest.mark.parametrize("k", [1, 6, 96])
def test_the_first_steps_are_those_of_pytorch(choose, d_model, size, k):
    one, other = both(choose, configuration(k=k), 4, size, d_model=d_model)
    assert distance(one, other) < 1e-5
    assert torch.equal(one.silent_for, other.silent_for)
    assert one.metrics() == pytest.approx(other.metrics(), rel=1e-5)


def test_clipping_takes_all_gradients_together(choose):
    """So small a limit that every step is clipped, and Adam's ε shows the size of what is left."""
    one, other = both(choose, configuration(max_grad_norm=1e-7), 4, 128)
    assert distance(one, other) < 1e-6
    start = trainer(configuration(), EagerStep)
    assert distance(start, other) > 1e-3


def test_auxk_revives_the_same_latents(choose):
    these = configuration(auxk_alpha=1.0, dead_after=300, d_sae=256)
    one, other = both(choose, these, 60, 128)
    assert len(other.dead)
    assert torch.equal(one.dead, other.dead)
    assert distance(one, other) < 1e-4
    without, _ = both(choose, configuration(dead_after=300, d_sae=256), 60, 128)
    assert distance(one, without) > 0.01


def test_a_silent_latent_waits_and_goes_on_with_its_own_clock(choose):
    """Latent 5 fires, is silent for 600 steps, and fires again."""
    these = configuration(learning_rate=1e-3, warmup_steps=0, decay_steps=0, n_steps=10**6)
    pair = trainer(these, choose), trainer(these, EagerStep)
    quiet = 600
    for step, batch in enumerate(batches(quiet + 6, 16)):
        for each in pair:
            bias = each.sae.b_enc.data[5].item()
            silent = 3 <= step < 3 + quiet
            each.sae.b_enc.data[5] = -1e4 if silent else bias
            each.step(batch)
            if silent:
                each.sae.b_enc.data[5] = bias
        if step == 2:
            before = [each.sae.W_dec[5].clone() for each in pair]
        if step == quiet + 2:
            after = [each.sae.W_dec[5] for each in pair]
            torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
            assert pair[0].silent_for[5] == pair[1].silent_for[5] == 16 * quiet
    assert pair[0].silent_for[5] == 0
    for name in ("W_dec", "W_enc"):
        rows = [getattr(each.sae, name) for each in pair]
        rows = [row.t() if name == "W_enc" else row for row in rows]
        torch.testing.assert_close(rows[0][5], rows[1][5], rtol=1e-4, atol=1e-6)


def test_bits_do_not_depend_on_the_number_of_threads():
    """Of all that is not the encoder product, which is PyTorch's own."""
    found, threads = [], torch.get_num_threads()
    x = next(batches(1, 300))
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            one = trainer(configuration(), compiled_with(False))
            step = one.optimise
            assert isinstance(step, CompiledStep)
            step._prepare(300)
            # powers of two, whose products are exact in any order
            step.held["centred"].copy_(x.sign())
            step.fields.threads = count
            step.fields.silent_for = native.address(one.silent_for)
            pre = (x.sign() @ one.sae.W_dec.detach().sign().t()).contiguous()
            where = [step.fields.b_enc, 300, 96, 6, step.fields.indices, step.fields.values, count]
            step.library.topk(native.address(pre), *where)
            step.library.reconstruct(ctypes.byref(step.fields), native.address(x))
            step.library.update(ctypes.byref(step.fields), 1e-3, 1.0, 1)
            found.append([getattr(one.sae, name).detach().clone() for name in WEIGHTS])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for each in found[1:] for a, b in zip(found[0], each))


def test_bfloat16_products_lead_to_the_latents_of_single_precision():
    """Equal but for the rounding of single precision, on rows of every size and weights of unlike
    norms, some of which rounding to bfloat16 hits as hard as it can."""
    generator = torch.Generator().manual_seed(2)
    these = configuration(d_sae=700, k=20)
    step = trainer(these, compiled_with(True), d_model=48).optimise
    assert isinstance(step, CompiledStep)
    with torch.no_grad():
        step.sae.W_enc *= torch.logspace(-1, 1, 700)
        step.sae.W_enc[:, ::9] = 1 + 1 / 256
        step.sae.b_enc += torch.randn(700, generator=generator)
    x = torch.randn(400, 48, generator=generator) * torch.logspace(-3, 3, 400)[:, None]
    x[::7] = 1 - 1 / 512
    step(x, torch.zeros(0, dtype=torch.int64), torch.zeros(700, dtype=torch.int64), 0.0)
    pre = x @ step.sae.W_enc.detach() + step.sae.b_enc.detach()
    expected = torch.relu(pre.topk(20, dim=1).values)
    scale = x.norm(dim=1, keepdim=True) * step.sae.W_enc.detach().norm(dim=0).max()
    found = step.values.sort(dim=1, descending=True).values
    assert ((found - expected).abs() < 1e-5 * scale).all()


def test_a_change_of_the_weights_by_another_hand_is_seen(choose):
    """Before the first step and between steps, as checkpoints and starts do it."""
    one, other = trainer(configuration(), choose), trainer(configuration(), EagerStep)
    for batch in batches(3, 128):
        for each in (one, other):
            with torch.no_grad():
                each.sae.W_enc.copy_(each.sae.W_enc.roll(1, 1))
            each.step(batch)
    assert distance(one, other) < 1e-5


def test_a_nan_spreads_so_that_it_is_seen(choose):
    one = trainer(configuration(), choose)
    with torch.no_grad():
        one.sae.W_enc[3, 4] = float("nan")
    x = next(batches(1, 128))
    one.step(x * float("nan"))
    one.step(x)
    assert one.sums[0].isnan()


@pytest.fixture
def compiler(monkeypatch, tmp_path, caplog):
    """Where the next one is looked for: there is none yet, and nothing that it has made."""
    caplog.set_level("INFO")
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "no-such-compiler"
    native.library.cache_clear()


def test_without_a_compiler_pytorch_does_the_steps(compiler, caplog):
    step = choose_step(trainer(configuration(), EagerStep).sae, configuration())
    assert isinstance(step, EagerStep)
    assert "no-such-compiler" in caplog.text
    assert not list(compiler.parent.rglob("*.so"))


def test_a_compiler_that_fails_is_quoted(compiler, caplog):
    compiler.write_text("#!/bin/sh\necho 'step.c: unknown option -fopenmp' >&2\nexit 1\n")
    compiler.chmod(0o755)
    assert native.library() is None
    assert "unknown option -fopenmp" in caplog.text


def test_the_switch_keeps_to_pytorch(monkeypatch):
    monkeypatch.setenv(native.SWITCH, "0")
    native.library.cache_clear()
    assert native.library() is None
    native.library.cache_clear()


@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (24,), (0, 24)])
def test_latents_are_those_that_pytorch_finds(monkeypatch, shape):
    sae = trainer(configuration(), choose_step).sae
    x = torch.randn(*shape[:-1], sae.d_model, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros(*x.shape[:-1], sae.d_sae)

    def dense_and_gradient() -> list[torch.Tensor]:
        sae.W_enc.grad = None
        found = sae.activate(x)
        assert found.indices.dtype == torch.int64
        dense = zeros.scatter_add(-1, found.indices, found.values)
        dense.square().sum().backward()
        return [dense.detach(), sae.W_enc.grad]

    fast = dense_and_gradient()
    monkeypatch.setattr(native, "largest", lambda pre, k: None)
    for one, other in zip(fast, dense_and_gradient(), strict=True):
        torch.testing.assert_close(one, other)


def test_what_the_library_cannot_read_is_left_to_pytorch():
    assert native.largest(torch.ones(2, 4, dtype=torch.float64), 2) is None


@pytest.mark.parametrize("gradient", [True, False])
def test_what_is_no_number_shows_in_the_reconstruction(gradient):
    sae = trainer(configuration(), choose_step).sae.requires_grad_(gradient)
    x = torch.randn(3, sae.d_model, generator=torch.Generator().manual_seed(1))
    x[1] = float("nan")
    found = sae.reconstruct(x).detach()
    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()


def test_the_latents_are_the_same_bits_with_and_without_a_gradient():
    sae = trainer(configuration(), choose_step).sae
    x = torch.randn(50, sae.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        without = sae.reconstruct(x)
    assert torch.equal(sae.reconstruct(x), without)
