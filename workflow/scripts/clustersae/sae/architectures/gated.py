"""Gated: whether a latent is active and how much are two questions (Rajamanoharan et al. 2024a)."""

from collections.abc import Callable

import torch
from torch import nn

from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput, positive


class Gated(SparseAutoencoder):
    """z = [gate > 0] · ReLU(magnitude), both from one product with the encoder (section 3.2):

        gate = (x̄ - b_dec) W_enc + b_enc,   magnitude = e^r_mag · ((x̄ - b_dec) W_enc) + b_mag

        loss = FVU + sparsity / d_model · mean over tokens of Σ_j ReLU(gate_j)
             + FVU of ReLU(gate) in a decoder that is held fixed

    L1 falls on gates alone, so it does not shrink what is written. The last term is what teaches
    gates to fire where they are of use: the step function has no gradient. k is not used.
    """

    name = "gated"
    revives = False  # a dead latent is one whose gate is never positive

    def add_parameters(self) -> None:
        self.r_mag = nn.Parameter(torch.zeros(self.d_sae))
        self.b_mag = nn.Parameter(torch.zeros(self.d_sae))

    def _gates(self, normalised: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gates and active latents, [..., d_sae] each."""
        product = (normalised - self.b_dec) @ self.W_enc
        gate = product + self.b_enc
        return gate, (gate > 0) * torch.relu(product * self.r_mag.exp() + self.b_mag)

    def activate(self, normalised: torch.Tensor) -> Latents:
        return positive(self._gates(normalised)[1])

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        gate, values = self._gates(normalised)
        return TrainingOutput(values @ self.W_dec + self.b_dec, values, extra=torch.relu(gate))

    def loss(
        self,
        fvu: torch.Tensor,
        fvu_of: Callable[[torch.Tensor], torch.Tensor],
        output: TrainingOutput,
        sparsity: float,
    ) -> torch.Tensor:
        gates = output.extra
        assert gates is not None
        by_gates = gates @ self.W_dec.detach() + self.b_dec.detach()
        return fvu + sparsity / self.d_model * gates.sum(1).mean() + fvu_of(by_gates)

    @torch.no_grad()
    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        return super().fold(layer) | {
            "r_mag": self.r_mag.detach().clone(),
            "b_mag": self.b_mag * self.latent_scale(layer),
        }
