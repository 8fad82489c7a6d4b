"""A checkpoint that is not whole is not gone on from, whatever of it is damaged."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

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
