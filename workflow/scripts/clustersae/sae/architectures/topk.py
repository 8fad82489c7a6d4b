"""TopK: the k largest latents of every token (Gao et al. 2024, section 2.3)."""

import torch

from clustersae.sae import native, sparse
from clustersae.sae.module import Latents, SparseAutoencoder, TrainingOutput


class TopK(SparseAutoencoder):
    """z = TopK(ReLU(pre)): k latents at most, on every token."""

    name = "topk"

    def activate(self, normalised: torch.Tensor) -> Latents:
        pre = self.pre_activations(normalised)
        found = native.largest(pre, self.k) or torch.topk(pre, self.k, dim=-1, sorted=False)
        values, indices = found
        if pre.requires_grad:
            values = pre.gather(-1, indices) * (values > 0)  # the same, with a gradient
        return Latents(indices, torch.relu(values))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        values, indices, transposition = sparse.encode_topk(
            normalised, self.b_dec, self.W_enc, self.b_enc, self.k
        )
        reconstruction = sparse.decode(values, indices, self.W_dec, transposition) + self.b_dec
        return TrainingOutput(reconstruction, values, indices)
