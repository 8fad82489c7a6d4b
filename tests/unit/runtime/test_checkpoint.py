"""A checkpoint that is not whole is not gone on from, whatever of it is damaged."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from clustersae.runtime import checkpoint as module
from clustersae.runtime.checkpoint import Checkpoint
from clustersae.runtime.tensors import load_tensors


class Counter:
    """The simplest training: a number."""

    def __init__(self, number=0):
        self.step_number = number

    def state(self):
        return {"number": torch.tensor([self.step_number])}

    def load_state(self, tensors):
        self.step_number = int(tensors["number"])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    Checkpoint(path, "mine").save(Counter(7), [{"fvu": 0.25}])
    return path


def restored(path):
    checkpoint, counter = Checkpoint(path, "mine"), Counter()
    checkpoint.restore(counter)
    return counter.step_number, checkpoint.history


def test_a_training_goes_on_from_what_was_saved(saved):
    assert restored(saved) == (7, [{"fvu": 0.25}])


@pytest.mark.parametrize(("takes", "pause"), [(1, 120), (40, 360)])
def test_saves_take_a_tenth_of_the_time_at_most(tmp_path, monkeypatch, takes, pause):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    class Slow(Counter):
        def state(self):
            now[0] += takes
            return super().state()

    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "mine")
    for wait in (120, pause, pause):
        now[0] += wait - 0.5
        assert not checkpoint.due()
        now[0] += 1
        assert checkpoint.due()
        checkpoint.save(Slow(), [])
    assert takes / (takes + pause) <= 0.1


def test_a_flipped_bit_anywhere_in_the_numbers_starts_anew(saved, caplog):
    content = saved.read_bytes()
    saved.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    with caplog.at_level(logging.WARNING):
        assert restored(saved) == (0, [])
    assert f"Training starts anew: {saved} is damaged" in caplog.text


def test_a_changed_history_starts_anew(saved):
    _, metadata = load_tensors(saved)
    metadata["history"] = metadata["history"].replace("0.25", "0.26")
    save_file(load_file(saved), saved, metadata)
    assert restored(saved) == (0, [])


@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_cut_one_starts_anew(saved, keep, caplog):
    saved.write_bytes(saved.read_bytes()[:keep])
    assert restored(saved) == (0, [])
    assert f"Training starts anew: {saved}" in caplog.text
