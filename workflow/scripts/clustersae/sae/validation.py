"""What trainings are compared by while they are tuned."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from clustersae.activations.blocks import Rows, layer_blocks
from clustersae.sae.module import SparseAutoencoder


class Validation(NamedTuple):
    """What an SAE does on the validation split.

    Attributes:
        fvu: mean over the SAE's layers.
        dead_fraction: share of the latents that are active on no token of any of the layers.
    """

    fvu: float
    dead_fraction: float


@torch.no_grad()
def validate(sae: SparseAutoencoder, shards: Sequence[Rows]) -> Validation:
    """FVU and dead latents on `shards`.

    The figures of `quality.reconstruction`, and nothing else of it, so that a change of what is
    reported trains no SAE again.
    """
    values = []
    fired = torch.zeros(sae.d_sae, dtype=torch.bool, device=sae.W_dec.device)
    for layer in sae.layers:
        centre = sae.layer_mean[sae.layers.index(layer)].double()
        error, square = centre.new_zeros(()), centre.new_zeros(())
        total, n_tokens = torch.zeros_like(centre), 0
        for x in layer_blocks(shards, layer):
            x = x.to(centre.device)
            latents = sae.encode(x, layer)
            fired[latents.indices[latents.values > 0]] = True
            error += (x.double() - sae.decode(latents, layer).double()).square().sum()
            centred = x.double() - centre
            square += centred.square().sum()
            total += centred.sum(0)
            n_tokens += len(x)
        values.append((error / (square - total.square().sum() / n_tokens)).item())
    return Validation(sum(values) / len(values), (~fired).double().mean().item())
