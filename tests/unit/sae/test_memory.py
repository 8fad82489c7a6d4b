"""Out of memory: what would fit is named."""

import weakref

import pytest
import torch
from every_architecture import moved_sae, settings_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.runtime.errors import InputError
from clustersae.sae import memory
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep


@pytest.fixture
def sae():
    return TopK((0,), 1000, 10, torch.zeros(1, 100), torch.ones(1))


def test_bytes_of_a_token_by_hand(sae):
    assert sae.bytes_per_token() == 4 * (3 * 1000 + 7 * 100 + 12 * 10)


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside have held at one time, in `peak`."""

    def __init__(self):
        super().__init__()
        self.held, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {each._cdata for each in storages((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for each in storages(made):
            if each._cdata not in given | self.held.keys():
                self.held[each._cdata] = each.nbytes()
                self.peak = max(self.peak, sum(self.held.values()))
                weakref.finalize(each, self.held.pop, each._cdata)
        return made


def storages(tree):
    tensors = (each for each in tree_leaves(tree) if isinstance(each, torch.Tensor))
    return [each.untyped_storage() for each in tensors if each.layout == torch.strided]


@pytest.mark.parametrize("shape", [(512, 32, 4), (256, 128, 16)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_holds_what_its_architecture_says(name, shape):
    """With all latents dead; between two sizes of batch, since weights are no part of it."""
    d_sae, d_model, k = shape
    settings = settings_of(name, d_sae=d_sae, k=k, auxk_alpha=1.0)
    sae = moved_sae(name, (0,), (1.0,), d_model=d_model, d_sae=d_sae, k=k)
    step = EagerStep(sae, settings)

    def peak(n):
        with Peak() as held:
            step(torch.ones(n, d_model), torch.arange(d_sae), torch.zeros(d_sae).long(), 1e-6)
        return held.peak

    peak(64)  # makes the gradients, which stay
    assert (peak(1024) - peak(512)) / 512 == pytest.approx(sae.bytes_per_token(), rel=0.1)


def test_the_largest_multiple_that_fits(sae):
    one = sae.bytes_per_token()
    assert memory.fitting_batch(sae, 128 * one) == 128
    assert memory.fitting_batch(sae, 256 * one - 1) == 128
    assert memory.fitting_batch(sae, 127 * one) == 0


@pytest.mark.parametrize(
    ("free", "said"), [(600, r"batch of 512 would fit: set sae\.batch_size"), (5, "no batch fits")]
)
def test_the_message_names_batch_and_remedy(sae, monkeypatch, free, said):
    monkeypatch.setattr(memory.device, "free_bytes", lambda device: free * sae.bytes_per_token())
    told = pytest.raises(InputError, match=rf"batch of 4,096 needs about .*{said}")
    with told, memory.room_for_batch(sae, 4096):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_what_would_fit_is_less_than_what_did_not(sae, monkeypatch):
    """Fragments count as free: the estimate may be above the batch that has just failed."""
    monkeypatch.setattr(memory.device, "free_bytes", lambda device: 10**12)
    told = pytest.raises(InputError, match="a batch of 384 would fit")
    with told, memory.room_for_batch(sae, 512):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_what_the_step_held_counts_as_free(sae, monkeypatch):
    """Its tensors live in the frames of the error for as long as that is told of."""
    held = []

    def step():
        own = torch.zeros(1)
        held.append(weakref.ref(own))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def free(device):
        return (5 if held[0]() is not None else 600) * sae.bytes_per_token()

    monkeypatch.setattr(memory.device, "free_bytes", free)
    told = pytest.raises(InputError, match="a batch of 512 would fit")
    with told, memory.room_for_batch(sae, 4096):
        step()


def test_other_errors_pass(sae):
    with pytest.raises(RuntimeError, match=r"^shapes$"), memory.room_for_batch(sae, 4):
        raise RuntimeError("shapes")
