"""The one number that trainings are compared by while they are tuned."""

from collections.abc import Sequence

import torch

from clustersae.activations.blocks import Rows, layer_blocks
from clustersae.sae.module import SparseAutoencoder


@torch.no_grad()
def mean_fvu(sae: SparseAutoencoder, shards: Sequence[Rows]) -> float:
    """FVU on `shards`, averaged over the SAE's layers.

    The figure of `evaluation.reconstruction`, and nothing else of it, so that a change of what is
    reported trains no SAE again.
    """
    values = []
    for layer in sae.layers:
        centre = sae.layer_mean[sae.layers.index(layer)].double()
        error, square = centre.new_zeros(()), centre.new_zeros(())
        total, n_tokens = torch.zeros_like(centre), 0
        for x in layer_blocks(shards, layer):
            x = x.to(centre.device)
            error += (x.double() - sae.reconstruct(x, layer).double()).square().sum()
            centred = x.double() - centre
            square += centred.square().sum()
            total += centred.sum(0)
            n_tokens += len(x)
        values.append((error / (square - total.square().sum() / n_tokens)).item())
    return sum(values) / len(values)
