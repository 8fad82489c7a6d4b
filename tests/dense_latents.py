"""Sparse latents as a dense tensor, to compare with."""

import torch

from clustersae.sae.module import Latents


def dense(latents: Latents, n_latents: int) -> torch.Tensor:
    """[..., n_latents], 0 where a latent is inactive."""
    zeros = latents.values.new_zeros(*latents.values.shape[:-1], n_latents)
    return zeros.scatter_add_(-1, latents.indices, latents.values)
