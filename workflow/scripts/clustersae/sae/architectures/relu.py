"""ReLU with an L1 penalty, weighted by the norms of decoder rows.

As Anthropic's update of April 2024 ("Training sparse autoencoders") has it, up to the unit: there
activations are scaled to a mean squared norm of d_model, as they are here, and errors are not
divided by it.
"""

from collections.abc import Callable

import torch

from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput, positive


class ReLU(SparseAutoencoder):
    """z = ReLU(pre), as many latents as it takes.

        loss = FVU + sparsity / d_model · mean over tokens of Σ_j z_j ‖W_dec_j‖

    With these weights a latent gains nothing from being small and written large, so rows need no
    unit norm. k is not used.
    """

    name = "relu"
    unit_rows = False
    revives = False  # a dead latent is one whose pre-activation is never positive

    def activate(self, normalised: torch.Tensor) -> Latents:
        return positive(torch.relu(self.pre_activations(normalised)))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        values = torch.relu(self.pre_activations(normalised))
        return TrainingOutput(values @ self.W_dec + self.b_dec, values)

    def loss(
        self,
        fvu: torch.Tensor,
        fvu_of: Callable[[torch.Tensor], torch.Tensor],
        output: TrainingOutput,
        sparsity: float,
    ) -> torch.Tensor:
        written = output.values @ self.W_dec.norm(dim=1)  # [n]
        return fvu + sparsity / self.d_model * written.mean()

    @torch.no_grad()
    def latent_scale(self, layer: int | None = None) -> torch.Tensor:
        return (self.W_dec * self.layer_scale[self._index(layer)]).norm(dim=1)

    @torch.no_grad()
    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        """As for all architectures, then rows brought to unit norm, and latents scaled by it."""
        plain = super().fold(layer)
        norms = plain["W_dec"].norm(dim=1).clamp(min=1e-12)
        return {
            "W_enc": plain["W_enc"] * norms,
            "b_enc": plain["b_enc"] * norms,
            "W_dec": plain["W_dec"] / norms[:, None],
            "b_dec": plain["b_dec"],
        }
