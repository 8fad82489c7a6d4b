"""JumpReLU: a threshold for every latent, learnt (Rajamanoharan et al. 2024b)."""

from collections.abc import Callable

import torch
from torch import nn

from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput, positive

#: Width ε of the window around a threshold in which pre-activations tell it where to move. The
#: paper's 0.001 is for activations of mean norm 1; here it is √d_model.
BANDWIDTH = 0.05


class JumpReLU(SparseAutoencoder):
    """z = pre · H(pre - θ), with H the step function and θ ≥ 0 a number for every latent.

        loss = FVU + sparsity · (L0 / k - 1)²,  L0 = mean over tokens of Σ_j H(pre_j - θ_j)

    so k is what L0 is drawn to (section 3 and appendix on target L0). Neither term has a gradient
    in θ; in its place stand the paper's straight-through estimates, see `_Jump` and `_Step`.

    θ itself is the parameter, not log θ: Adam moves a parameter by about the learning rate in each
    step, which is next to nothing for the logarithm.
    """

    name = "jumprelu"

    def add_parameters(self) -> None:
        # k of d_sae latents would be active if pre-activations were normal, as those of unit rows
        # and dimensions of unit variance are by and large.
        start = torch.special.ndtri(torch.tensor(1 - self.k / self.d_sae)).clamp(min=0)
        self.threshold = nn.Parameter(start.repeat(self.d_sae))

    def activate(self, normalised: torch.Tensor) -> Latents:
        pre = self.pre_activations(normalised)
        return positive(torch.relu(pre) * (pre > self.threshold))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        pre = self.pre_activations(normalised)
        values = _Jump.apply(pre, self.threshold)
        l0 = _Step.apply(pre, self.threshold).sum(1).mean()
        return TrainingOutput(values @ self.W_dec + self.b_dec, values, extra=l0)

    def loss(
        self,
        fvu: torch.Tensor,
        fvu_of: Callable[[torch.Tensor], torch.Tensor],
        output: TrainingOutput,
        sparsity: float,
    ) -> torch.Tensor:
        assert output.extra is not None
        return fvu + sparsity * (output.extra / self.k - 1).square()

    @torch.no_grad()
    def after_step(self, output: TrainingOutput) -> None:
        super().after_step(output)
        self.threshold.clamp_(min=0)  # below, negative pre-activations would pass

    @torch.no_grad()
    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        return super().fold(layer) | {"threshold": self.threshold * self.latent_scale(layer)}


class _Jump(torch.autograd.Function):
    """pre · H(pre - θ), with ∂/∂θ ≈ -(θ/ε) · [|pre - θ| < ε/2] (equation 11)."""

    @staticmethod
    def forward(ctx, pre, threshold):
        ctx.save_for_backward(pre, threshold)
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        near = (pre - threshold).abs() < BANDWIDTH / 2
        return grad * (pre > threshold), (grad * near).sum(0) * -(threshold / BANDWIDTH)


class _Step(torch.autograd.Function):
    """H(pre - θ), with ∂/∂θ ≈ -(1/ε) · [|pre - θ| < ε/2] and none in pre (equation 12)."""

    @staticmethod
    def forward(ctx, pre, threshold):
        ctx.save_for_backward(pre, threshold)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        near = (pre - threshold).abs() < BANDWIDTH / 2
        return None, (grad * near).sum(0) / -BANDWIDTH
