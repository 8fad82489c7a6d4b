"""BatchTopK and Matryoshka by hand and against dense products."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from dense_latents import dense

from clustersae.sae.architectures.batchtopk import MEMORY, BatchTopK
from clustersae.sae.architectures.matryoshka import Matryoshka
from clustersae.sae.loss import fvu_loss

PLAIN = torch.zeros(1, 2), torch.ones(1)


def by_hand(kind, **options):
    """Two dimensions and four latents: pre-activations are x₁, x₂, -x₁ and -x₂."""
    sae = kind((0,), 4, 1, *PLAIN, **options)
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([torch.eye(2), -torch.eye(2)]))
        sae.W_enc.copy_(sae.W_dec.t())
    return sae


X = torch.tensor([[5.0, -4.0], [1.0, 0.5], [0.25, 2.0]])


def test_a_batch_keeps_the_largest_latents_whichever_tokens_they_are_of():
    output = by_hand(BatchTopK).forward_training(X)
    # Of 5, 4, 1, 0.5, 0.25 and 2, three remain: two of the first token, none of the second.
    assert sorted(output.values.tolist()) == [2, 4, 5]
    assert output.reconstruction.tolist() == [[5, -4], [0, 0], [0, 2]]
    assert output.firings(4).tolist() == [1, 1, 0, 1]


def test_the_threshold_is_a_running_mean_of_the_smallest_active_latent():
    sae = by_hand(BatchTopK)
    sae.after_step(sae.forward_training(X / 4))
    assert sae.threshold.item() == 0.5
    sae.after_step(sae.forward_training(3 * X))
    assert sae.threshold.item() == pytest.approx(0.5 * MEMORY + 6 * (1 - MEMORY))
    before = sae.threshold.clone()
    with torch.no_grad():
        sae.b_enc.fill_(-100)
    silent = sae.forward_training(X)
    assert not silent.values.any()
    sae.after_step(silent)
    assert torch.equal(sae.threshold, before)


def test_what_is_encoded_later_does_not_depend_on_the_batch():
    sae = by_hand(BatchTopK)
    sae.threshold.fill_(0.75)
    together = dense(sae.encode(X), 4)
    assert together.tolist() == [[5, 0, 0, 4], [1, 0, 0, 0], [0, 2, 0, 0]]
    assert torch.equal(torch.cat([dense(sae.encode(row[None]), 4) for row in X]), together)


def random(kind, **options):
    generator = torch.Generator().manual_seed(3)
    sae = kind((0,), 20, 3, torch.zeros(1, 6), torch.ones(1), **options)
    sae.initialise(generator)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return sae.double(), torch.randn(50, 6, generator=generator, dtype=torch.float64)


def dense_losses(sae, x, widths):
    """FVU of the first w latents for every width, with dense products alone."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    kept = pre.flatten().topk(len(x) * sae.k).indices
    mask = torch.zeros(pre.numel(), dtype=torch.bool).index_fill(0, kept, True).view_as(pre)
    latents = F.relu(pre) * mask
    return [fvu_loss(x, latents[:, :w] @ sae.W_dec[:w] + sae.b_dec) for w in widths]


@pytest.mark.parametrize("prefixes", [None, (4, 9)])
def test_loss_and_gradients_are_those_of_dense_products(prefixes):
    options = {} if prefixes is None else {"prefixes": prefixes}
    sae, x = random(BatchTopK if prefixes is None else Matryoshka, **options)
    output = sae.forward_training(x)
    fvu = fvu_loss(x, output.reconstruction)
    loss = sae.loss(fvu, partial(fvu_loss, x), output, 0.0)
    losses = dense_losses(sae, x, [*(prefixes or ()), 20])
    torch.testing.assert_close(fvu, losses[-1])
    torch.testing.assert_close(loss, sum(losses) / len(losses))
    found = torch.autograd.grad(loss, list(sae.parameters()))
    expected = torch.autograd.grad(sum(losses) / len(losses), list(sae.parameters()))
    for one, other in zip(found, expected, strict=True):
        assert other.any()
        torch.testing.assert_close(one, other)


def test_the_inner_dictionary_alone_has_to_reconstruct():
    sae = by_hand(Matryoshka, prefixes=(1,))
    output = sae.forward_training(X)
    fvu = fvu_loss(X, output.reconstruction)
    assert fvu.item() == pytest.approx((1 + 0.25 + 0.0625) / 6)
    # Its only latent writes 5 on the first token; the rest is 4², 1 + 0.25, 0.0625 + 4.
    inner = (16 + 1.25 + 4.0625) / 6
    assert sae.loss(fvu, partial(fvu_loss, X), output, 0.0).item() == pytest.approx(
        (fvu.item() + inner) / 2
    )


def test_without_inner_dictionaries_it_is_batchtopk():
    one, x = random(BatchTopK)
    other, _ = random(Matryoshka, prefixes=())
    outputs = [sae.forward_training(x) for sae in (one, other)]
    assert torch.equal(outputs[0].reconstruction, outputs[1].reconstruction)
    fvu = fvu_loss(x, outputs[1].reconstruction)
    assert other.loss(fvu, partial(fvu_loss, x), outputs[1], 0.0) == fvu
