"""TopK: the k largest latents of every token (Gao et al. 2024, section 2.3)."""

import torch

from clustersae.sae import sparse
from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput


class TopK(SparseAutoencoder):
    """z = TopK(ReLU(pre)): k latents at most, on every token."""

    name = "topk"

    def activate(self, normalised: torch.Tensor) -> Latents:
        values, indices = torch.topk(self.pre_activations(normalised), self.k, dim=-1, sorted=False)
        return Latents(indices, torch.relu(values))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        values, indices, transposition = sparse.encode_topk(
            normalised, self.b_dec, self.W_enc, self.b_enc, self.k
        )
        reconstruction = sparse.decode(values, indices, self.W_dec, transposition) + self.b_dec
        return TrainingOutput(reconstruction, values, indices)
