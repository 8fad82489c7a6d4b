"""BatchTopK: the n·k largest latents of a batch of n tokens (Bussmann et al. 2024)."""

import torch

from clustersae.sae import sparse
from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput, positive

#: Share of the old threshold in the new one, step by step.
MEMORY = 0.99


class BatchTopK(SparseAutoencoder):
    """k active latents per token on average: those that are the largest of the whole batch.

    A token's latents must not depend on its neighbours once the SAE is trained, so they are then
    those above one threshold for all latents, z = pre · [pre > θ]: a running mean of the smallest
    active latent of every training batch (section 3).
    """

    name = "batchtopk"

    threshold: torch.Tensor  # negative before the first step

    def add_parameters(self) -> None:
        self.register_buffer("threshold", torch.tensor(-1.0))

    def activate(self, normalised: torch.Tensor) -> Latents:
        pre = torch.relu(self.pre_activations(normalised))
        return positive(pre * (pre > self.threshold))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        entries = sparse.encode_batch_topk(normalised, self.b_dec, self.W_enc, self.b_enc, self.k)
        reconstruction = sparse.decode_entries(entries, entries.values, self.W_dec) + self.b_dec
        return TrainingOutput(reconstruction, entries.values, entries.indices)

    @torch.no_grad()
    def after_step(self, output: TrainingOutput) -> None:
        super().after_step(output)
        smallest = torch.where(output.values > 0, output.values, torch.inf).min()
        # Without a branch, for which a GPU would have to be waited for.
        smallest = torch.where(smallest.isinf(), self.threshold, smallest)
        moved = self.threshold.lerp(smallest, 1 - MEMORY)
        self.threshold.copy_(torch.where(self.threshold < 0, smallest, moved))

    @torch.no_grad()
    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        return super().fold(layer) | {"threshold": self.threshold * self.latent_scale(layer)}
