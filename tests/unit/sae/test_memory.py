"""Out of memory: what would fit is named."""

import pytest
import torch

from clustersae.runtime.errors import InputError
from clustersae.sae import memory
from clustersae.sae.architectures.topk import TopK


@pytest.fixture
def sae():
    return TopK((0,), 1000, 10, torch.zeros(1, 100), torch.ones(1))


def test_bytes_of_a_token_by_hand(sae):
    assert memory.bytes_per_token(sae) == 4 * (3 * 1000 + 6 * 100 + 6 * 10)


def test_the_largest_multiple_that_fits(sae):
    one = memory.bytes_per_token(sae)
    assert memory.fitting_batch(sae, 128 * one) == 128
    assert memory.fitting_batch(sae, 256 * one - 1) == 128
    assert memory.fitting_batch(sae, 127 * one) == 0


@pytest.mark.parametrize(
    ("free", "said"), [(600, r"batch of 512 would fit: set sae\.batch_size"), (5, "no batch fits")]
)
def test_the_message_names_batch_and_remedy(sae, monkeypatch, free, said):
    monkeypatch.setattr(memory, "_free", lambda device: free * memory.bytes_per_token(sae))
    told = pytest.raises(InputError, match=rf"batch of 4,096 needs about .*{said}")
    with told, memory.enough_memory(sae, 4096):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_what_would_fit_is_less_than_what_did_not(sae, monkeypatch):
    """Fragments count as free: the estimate may be above the batch that has just failed."""
    monkeypatch.setattr(memory, "_free", lambda device: 10**12)
    told = pytest.raises(InputError, match="a batch of 384 would fit")
    with told, memory.enough_memory(sae, 512):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_other_errors_pass(sae):
    with pytest.raises(RuntimeError, match=r"^shapes$"), memory.enough_memory(sae, 4):
        raise RuntimeError("shapes")
