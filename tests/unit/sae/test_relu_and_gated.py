"""ReLU with L1, and Gated, by hand."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from dense_latents import dense

from clustersae.sae.architectures.gated import Gated
from clustersae.sae.architectures.relu import ReLU
from clustersae.sae.loss import fvu_loss

X = torch.tensor([[2.0, 1.0], [-1.0, 3.0]])


def by_hand(kind):
    """Two dimensions and three latents: pre-activations are x₁, x₂ and -x₁."""
    sae = kind((0,), 3, 1, torch.zeros(1, 2), torch.ones(1))
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
    return sae


def test_all_positive_latents_of_relu_are_active_and_cost_what_they_write():
    sae = by_hand(ReLU)
    assert dense(sae.encode(X), 3).tolist() == [[2, 1, 0], [0, 3, 1]]
    output = sae.forward_training(X)
    fvu = fvu_loss(X, output.reconstruction)
    assert fvu.item() == (1 + 9) / 4  # x₂ is written twice as large as it is
    # 2 · 1 + 1 · 2 and 3 · 2 + 1 · 1 are 4 and 7, of two dimensions, 5.5 on average.
    assert sae.loss(fvu, partial(fvu_loss, X), output, 0.1).item() == pytest.approx(
        2.5 + 0.1 / 2 * 5.5
    )


def test_nothing_is_gained_by_small_latents_with_large_rows():
    generator = torch.Generator().manual_seed(0)
    sae = ReLU((0,), 12, 1, torch.zeros(1, 5), torch.ones(1))
    sae.initialise(generator)
    x = torch.randn(30, 5, generator=generator)

    def loss():
        output = sae.forward_training(x)
        return sae.loss(fvu_loss(x, output.reconstruction), partial(fvu_loss, x), output, 2.0)

    before = loss()
    factor = 0.1 + torch.rand(12, generator=generator)
    with torch.no_grad():
        sae.W_enc.mul_(factor)
        sae.b_enc.mul_(factor)
        sae.W_dec.div_(factor[:, None])
    torch.testing.assert_close(loss(), before)


def test_gates_say_which_latents_are_active_and_magnitudes_how_much():
    sae = by_hand(Gated)
    with torch.no_grad():
        sae.b_enc.copy_(torch.tensor([-1.5, 0.0, 5.0]))  # gates
        sae.r_mag.copy_(torch.tensor([1.0, 2.0, 1.0]).log())
        sae.b_mag.copy_(torch.tensor([1.0, 0.0, -0.5]))
    # Gates 0.5, 1, 3 and -2.5, 3, 6; magnitudes 2 + 1, 2 · 1, -2 - 0.5 and 0, 6, 1 - 0.5.
    assert dense(sae.encode(X), 3).tolist() == [[3, 2, 0], [0, 6, 0.5]]
    output = sae.forward_training(X)
    fvu = fvu_loss(X, output.reconstruction)
    # x̂ = (3, 4) and (-0.5, 12).
    assert fvu.item() == pytest.approx((1 + 9 + 0.25 + 81) / 4)
    # Positive gates write (0.5 - 3, 2) and (-6, 6); they add up to 4.5 and 9.
    gates = (4.5**2 + 1 + 25 + 9) / 4
    expected = fvu.item() + 0.1 / 2 * (4.5 + 9) / 2 + gates
    assert sae.loss(fvu, partial(fvu_loss, X), output, 0.1).item() == pytest.approx(expected)


def test_gates_learn_from_penalty_and_own_reconstruction_and_the_decoder_from_neither():
    generator = torch.Generator().manual_seed(0)
    sae = Gated((0,), 12, 1, torch.zeros(1, 5), torch.ones(1)).double()
    sae.initialise(generator)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64)

    def gradients(sparsity):
        output = sae.forward_training(x)
        loss = sae.loss(fvu_loss(x, output.reconstruction), partial(fvu_loss, x), output, sparsity)
        return dict(zip(names, torch.autograd.grad(loss, list(sae.parameters()))))

    names = [name for name, _ in sae.named_parameters()]
    found = gradients(2.0)
    gate = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    residual = F.relu(gate) @ sae.W_dec + sae.b_dec - x
    by_gate = (2 * residual @ sae.W_dec.t() / x.numel() + 2.0 / 5 / len(x)) * (gate > 0)
    torch.testing.assert_close(found["b_enc"], by_gate.sum(0))
    plain = fvu_loss(x, sae.forward_training(x).reconstruction)
    rows, bias = torch.autograd.grad(plain, [sae.W_dec, sae.b_dec])
    torch.testing.assert_close(found["W_dec"], rows)
    torch.testing.assert_close(found["b_dec"], bias - sae.W_enc @ by_gate.sum(0))
