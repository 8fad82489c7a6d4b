"""Fitting: what an SAE starts from, and what it reads next."""

from dataclasses import replace

import pytest
import torch
from every_architecture import settings_of
from synthetic_shards import D_MODEL, D_SAE, K, all_layers, made_shard, of_layers
from synthetic_shards import SETTINGS as ROOT

from clustersae.activations.batches import normalised_batches
from clustersae.activations.shards import open_shards
from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.experiment.windows import Windows
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import checksum
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.fitting import Activations, fit
from clustersae.sae.start import Start
from clustersae.sae.training import Diverged, Trainer

CPU = torch.device("cpu")
CHILD = replace(ROOT, n_steps=7, learning_rate=0.02, warmup_steps=1, decay_steps=2)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    return all_layers(tmp_path_factory.mktemp("activations"))


@pytest.fixture
def train(cached, tmp_path):
    """Fit an SAE of some layers; every call has a checkpoint of its own unless told otherwise."""
    calls = []

    def of(layers, settings=ROOT, start=None, file=None, label="SAE", code="", scale=None):
        calls.append(layers)
        file = file or tmp_path / f"checkpoint-{len(calls)}.safetensors"
        data = of_layers(cached, layers)
        data = data if scale is None else data._replace(scale=scale)
        first_step = ROOT.n_steps if start and not start.is_other_layer else 0
        return fit(data, settings, file, label, CPU, code, start, first_step, keep=True)

    return of


def start_from(fitted):
    return Start(fitted.sae, checksum(fitted.sae.state_dict()))


def same(one, other):
    one, other = one.sae.state_dict(), other.sae.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def batches(monkeypatch):
    """What the optimiser steps on from now on, batch by batch."""
    seen, step = [], Trainer.step

    def recording(trainer, batch):
        seen.append(batch.clone())
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", recording)
    return seen


def test_a_child_reads_on_where_its_parent_stopped(train, cached, batches):
    root = train((0, 1, 2))
    child = train((1, 2), CHILD, start_from(root))
    assert [fitted.first_step for fitted in (root, child)] == [0, 20]
    for layers, steps in (((0, 1, 2), range(20)), ((1, 2), range(20, 27))):
        read = of_layers(cached, layers)[:4]
        expected = list(normalised_batches(*read, 128, ROOT.seed, steps))
        found = batches[steps.start : steps.stop]
        assert len(found) == len(expected)
        assert all(torch.equal(one, other) for one, other in zip(found, expected))


@pytest.mark.parametrize(("batch_size", "n_steps"), [(128, 6), (256, 3)])
def test_parent_and_child_together_read_no_token_twice_in_a_pass(
    tmp_path, batches, batch_size, n_steps
):
    """Nor do they where the parent's batches are larger: all sizes read in the same order."""
    # Rows carry their own number in place of activations; a pass of 1,700 rows has 13 batches.
    layers = [torch.arange(1700.0)[:, None].expand(-1, D_MODEL).clone() for _ in range(2)]
    shards = open_shards([made_shard(tmp_path / "rows.safetensors", layers)])
    still = replace(ROOT, learning_rate=0.0, n_steps=n_steps, batch_size=batch_size)
    plain = torch.zeros(2, D_MODEL), torch.ones(2)
    root = fit(Activations(shards, (0, 1), *plain), still, tmp_path / "a", "root", CPU)
    own = Activations(shards, (1,), plain[0][1:], plain[1][1:])
    start = start_from(root)
    settings = replace(still, n_steps=7, batch_size=128)
    fit(own, settings, tmp_path / "b", "child", CPU, start=start, first_step=6)
    rows = torch.cat(batches)[:, 0]
    assert len(rows) == 13 * 128
    assert len(rows.unique()) == len(rows)


def test_passes_are_over_the_tokens_of_one_unless_a_window_or_all_layers_at_once_are_read(cached):
    data = of_layers(cached, (0, 1))._replace(times=4)
    assert data.limit(ROOT) == ROOT.n_activations // 4
    windows = Windows(n_tokens=1700, n_shards=3, size=1)
    for change in ({"times": 1}, {"every_layer": True}, {"windows": windows}):
        assert data._replace(**change).limit(ROOT) is None


def test_a_child_starts_with_an_optimiser_of_its_own(train, monkeypatch):
    root = train((0, 1, 2))
    found, step = [], Trainer.step

    def look(trainer, batch):
        if trainer.step_number == 0:
            state = trainer.optimise.state()
            found.extend(state[name].clone() for name in state)
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", look)
    train((2,), CHILD, start_from(root))
    assert found
    assert not any(value.any() for value in found)


def test_siblings_start_alike_and_do_not_disturb_their_parent(train):
    root = train((0, 1, 2))
    before = checksum(root.sae.state_dict())
    one, again = (train((1,), CHILD, start_from(root)) for _ in range(2))
    assert same(one, again)
    assert not same(train((2,), CHILD, start_from(root)), one)
    assert checksum(root.sae.state_dict()) == before


def test_a_start_helps(train):
    """With the same few steps, a child is ahead of an SAE from scratch from the first step on."""
    root = train((0, 1, 2), replace(ROOT, n_steps=60))
    child, scratch = train((2,), CHILD, start_from(root)), train((2,), CHILD)
    assert child.history[0]["fvu"] < 0.8 * scratch.history[0]["fvu"]
    assert child.history[-1]["fvu"] < 0.9 * scratch.history[-1]["fvu"]


def test_a_finished_fit_is_taken_from_its_checkpoint(train, tmp_path, batches):
    root, file = train((0, 1, 2)), tmp_path / "finished.safetensors"
    done = train((2,), CHILD, start_from(root), file)
    n_batches = len(batches)
    again = train((2,), CHILD, start_from(root), file)
    assert len(batches) == n_batches
    assert same(again, done)
    assert again.history == done.history
    assert again.record["seconds"] >= done.record["seconds"]


def test_a_checkpoint_of_another_training_is_not_used(train, tmp_path):
    one = train((0, 1, 2))
    other = train((0, 1, 2), replace(ROOT, seed=2))
    file = tmp_path / "checkpoint.safetensors"
    base = {"settings": CHILD, "start": start_from(one)}
    for change in (
        {"start": start_from(other)},
        {"start": None},
        {"settings": replace(CHILD, learning_rate=0.03)},
        {"code": "edited"},
        {"label": "another SAE"},
        {"scale": torch.full((1, D_MODEL), 2.0)},  # `sae.normalisation: dimensions`
    ):
        train((2,), file=file, **base)
        fitted = train((2,), file=file, **base | change)
        assert fitted.record["resumed_at_step"] == 0, change
        assert same(fitted, train((2,), **base | change)), change
    assert train((2,), file=file, **base | change).record["resumed_at_step"] == CHILD.n_steps


def test_a_training_that_diverges_says_what_it_took(train, monkeypatch):
    step = Trainer.step

    def step_then_diverge(trainer, batch):
        step(trainer, batch)
        if trainer.step_number == 5:
            raise Diverged("FVU is nan")

    monkeypatch.setattr(Trainer, "step", step_then_diverge)
    with pytest.raises(Diverged) as raised:
        train((2,))
    cost = raised.value.cost
    assert (cost["learning_rate"], cost["share"]) == (ROOT.learning_rate, 5 / ROOT.n_steps)
    assert cost["seconds"] > 0


def test_an_sae_without_room_is_told_with_its_size(cached, tmp_path):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    settings = replace(ROOT, d_sae=2**20, k=1)
    told = pytest.raises(InputError, match=r"1,048,576 latents, 0\.27 GiB .* sae\.expansion_factor")
    with told:  # 2 · 8 + 1 numbers for each latent, of 4 bytes, in 4 copies
        fit(of_layers(cached, (0,)), settings, tmp_path / "x", "SAE", CPU, trainer_for=full)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_finished_sae_holds_no_gradients(train, name):
    """The best of several is kept where the others are trained."""
    fitted = train((0, 1), settings_of(name, ROOT))
    assert all(weight.grad is None for weight in fitted.sae.parameters())


def test_a_start_at_another_layer_gives_its_weights_and_nothing_else(train, cached, batches):
    """So a start that is an untrained SAE gives the bits of a training from scratch."""
    scratch = train((2,))
    seen = [batch.clone() for batch in batches]
    batches.clear()
    generator = torch.Generator().manual_seed(ROOT.seed)
    untrained = TopK((0,), D_SAE, K, cached.mean[:1], cached.scale[:1])
    untrained.initialise(generator)
    other = Start(untrained, checksum(untrained.state_dict()), is_other_layer=True)
    transferred = train((2,), start=other)
    assert same(transferred, scratch)
    assert transferred.first_step == 0
    assert all(torch.equal(one, two) for one, two in zip(batches, seen, strict=True))
    neighbour = train((1,), replace(ROOT, n_steps=60)).sae
    start = Start(neighbour, checksum(neighbour.state_dict()), is_other_layer=True)
    assert not same(train((2,), start=start), scratch)
