"""JumpReLU by hand: which latents pass, what the loss is, where thresholds are told to go."""

from functools import partial

import pytest
import torch

from clustersae.sae.architectures.jumprelu import BANDWIDTH, JumpReLU, _Jump, _Step
from clustersae.sae.loss import fvu_loss


@pytest.fixture
def by_hand():
    """Two dimensions and three latents: pre-activations are x₁, x₂ and x₁ + x₂."""
    sae = JumpReLU((0,), 3, 2, torch.zeros(1, 2), torch.ones(1))
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
        sae.threshold.copy_(torch.tensor([0.5, 0.5, 4.0]))
    return sae


def test_latents_above_their_threshold_pass_as_they_are(by_hand):
    latents = by_hand.encode(torch.tensor([[1.0, 0.25], [3.0, 2.0], [-1.0, 0.5]]))
    rows = [dict(zip(i, v)) for i, v in zip(latents.indices.tolist(), latents.values.tolist())]
    active = [{i: v for i, v in row.items() if v} for row in rows]
    assert active == [{0: 1.0}, {0: 3.0, 1: 2.0, 2: 5.0}, {}]


def test_the_loss_is_fvu_and_the_squared_distance_from_the_target(by_hand):
    x = torch.tensor([[1.0, 0.25], [3.0, 2.0], [3.0, 2.0]])
    output = by_hand.forward_training(x)
    # x̂ = (1, 0) and (3, 0) + (0, 2) + 5 · (0.6, 0.8): errors 0.25² and 3² + 4², of 6 numbers.
    fvu = fvu_loss(x, output.reconstruction)
    assert fvu.item() == pytest.approx((0.0625 + 25 + 25) / 6)
    # One, three and three latents are active, 7/3 on average, where k is two.
    assert by_hand.loss(fvu, partial(fvu_loss, x), output, 0.5).item() == pytest.approx(
        fvu.item() + 0.5 * (7 / 6 - 1) ** 2
    )


def test_straight_through_gradients_are_the_formulas():
    generator = torch.Generator().manual_seed(0)
    threshold = torch.tensor([0.3, 0.0, 1.0], requires_grad=True)
    pre = threshold.detach() + BANDWIDTH * torch.randn(200, 3, generator=generator)
    pre.requires_grad_()
    weight = torch.randn(200, 3, generator=generator)
    near = ((pre - threshold).abs() < BANDWIDTH / 2).detach()
    assert 0.2 < near.float().mean() < 0.8

    (_Jump.apply(pre, threshold) * weight).sum().backward()
    expected = -(threshold / BANDWIDTH).detach() * (near * weight).sum(0)
    torch.testing.assert_close(threshold.grad, expected)
    torch.testing.assert_close(pre.grad, weight * (pre > threshold))

    pre.grad = threshold.grad = None
    (_Step.apply(pre, threshold) * weight).sum().backward()
    torch.testing.assert_close(threshold.grad, -(near * weight).sum(0) / BANDWIDTH)
    assert pre.grad is None


def test_estimates_are_the_slope_of_the_smoothed_functions():
    """Averaged over many pre-activations of even density, they say how the true sums change."""
    pre = torch.arange(-2, 4, 1e-5, dtype=torch.float64).unsqueeze(1)  # 1e5 to a unit
    threshold = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    for function in (_Jump, _Step):
        threshold.grad = None
        function.apply(pre, threshold).sum().backward()
        sums = [function.apply(pre, threshold.detach() + step).sum() for step in (0.01, -0.01)]
        assert threshold.grad.item() == pytest.approx(((sums[0] - sums[1]) / 0.02).item(), rel=1e-3)


def test_thresholds_start_where_k_latents_of_normal_pre_activations_are_active():
    sae = JumpReLU((0,), 1000, 20, torch.zeros(1, 64), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(0))
    x = torch.randn(2000, 64, generator=torch.Generator().manual_seed(1))
    assert (sae.encode(x).values > 0).sum() / 2000 == pytest.approx(20, rel=0.05)
    assert JumpReLU((0,), 8, 8, torch.zeros(1, 4), torch.ones(1)).threshold.tolist() == [0] * 8


def test_thresholds_are_never_negative(by_hand):
    with torch.no_grad():
        by_hand.threshold[1] = -0.2
    by_hand.after_step(by_hand.forward_training(torch.ones(4, 2)))
    assert by_hand.threshold.tolist() == [0.5, 0.0, 4.0]
