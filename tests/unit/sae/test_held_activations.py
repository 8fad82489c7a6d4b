"""When a training holds its activations on a GPU, and that it then reads the same."""

import pytest
import torch
from pretended_gpu import DEVICE, PretendedGPU
from sae_settings_of import sae_section
from synthetic_shards import write_split

from clustersae.activations.shards import open_shards
from clustersae.runtime import device
from clustersae.sae.fitting import HELD_SHARE, Activations, batches_of
from clustersae.sae.preparing import Training

LAYERS, N_ROWS = (0, 2), 1200


@pytest.fixture
def data(tmp_path):
    shards = open_shards(write_split(tmp_path, rows=(700, 500)))
    mean, scale = torch.randn(2, shards[0].d_model), torch.rand(2) + 0.5
    return Activations(shards, LAYERS, mean, scale)


@pytest.fixture
def size(data):
    """Bytes of both layers in both shards, as they are stored."""
    return sum(each.held_bytes(LAYERS) for each in data.shards)


def with_free(monkeypatch, n_bytes):
    monkeypatch.setattr(device, "free_bytes", lambda where: n_bytes)


def is_held(data):
    return data.shards[0].device.type == DEVICE.type


def test_activations_are_held_where_they_have_room_and_are_read_as_often(data, size, monkeypatch):
    enough, n_read = int(size / HELD_SHARE) + 1, len(LAYERS) * N_ROWS
    with PretendedGPU():
        with_free(monkeypatch, enough)
        held = data.held_on(DEVICE, n_read)
        assert is_held(held)
        assert held.held_on(DEVICE, n_read) is held
        assert not is_held(data.held_on(DEVICE, n_read - 1))
        with_free(monkeypatch, enough - 2)
        assert not is_held(data.held_on(DEVICE, n_read))


@pytest.mark.parametrize("rates", [[None], [0.01, 0.02]])
def test_a_training_keeps_the_memory_that_it_needs(data, size, monkeypatch, tmp_path, rates):
    training = Training("0+2", "base", 0, sae_section(2, 3 * N_ROWS, d_sae=256), data)
    d_model, batch_size = data.shards[0].d_model, 128
    weights = 4 * (2 * d_model * 256 + 256 + d_model)
    batch = batch_size * 4 * (3 * 256 + 7 * d_model + 12 * 2)  # as ARCHITECTURES has it for TopK
    # Gradients and two moments are as large as weights, and so is the best SAE so far.
    room = size + (4 if len(rates) == 1 else 5) * weights + batch
    assert room * HELD_SHARE > size  # or the quarter alone would decide
    with PretendedGPU():
        for n_bytes, expected in ((room, True), (room - 1, False)):
            with_free(monkeypatch, n_bytes)
            one, *_ = training.fits(rates, tmp_path, [DEVICE], "")
            assert is_held(one.keywords["data"]) is expected


def test_on_the_cpu_nobody_asks_for_a_gpus_memory(data, monkeypatch):
    monkeypatch.setattr(device, "free_bytes", None)
    assert data.held_on(torch.device("cpu"), 10**9) is data


def test_what_is_held_are_the_rows_of_the_layers_alone(data, size):
    first = data.shards[0]
    one = 4 * first.n_rows * first.d_model
    assert first.held_bytes([1]) == one  # float32, without a centre
    assert size == 2 * one * N_ROWS // first.n_rows


def test_batches_have_the_same_bits(data, monkeypatch):
    config = sae_section(2, 1024, d_sae=16, learning_rate=0.01)
    settings = Training("0+2", "base", 0, config, data).settings(None)
    arguments = (settings, range(8))
    cpu = torch.device("cpu")
    expected = list(batches_of(data, *arguments, cpu, joint=False))
    with_free(monkeypatch, 10**9)
    with PretendedGPU():
        held = data.held_on(DEVICE, 10**9)
        assert is_held(held)
        found = [each.cpu() for each in batches_of(held, *arguments, DEVICE, joint=False)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
