"""What trainings are compared by while they are tuned."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from clustersae.activations.blocks import Rows, layer_blocks
from clustersae.sae.module import Latents, SparseAutoencoder

#: Activations that it takes to tell latents that fire rarely from dead ones; more are not read.
ENOUGH = 1_000_000


class Validation(NamedTuple):
    """What an SAE does on the validation split.

    Attributes:
        fvu: mean over the SAE's layers.
        dead_fraction: share of the latents that were active on no token of any of the layers.
    """

    fvu: float
    dead_fraction: float


@torch.no_grad()
def validate(
    sae: SparseAutoencoder,
    shards: Sequence[Rows],
    training: Sequence[Rows] = (),
    max_dead: float = 0.0,
) -> Validation:
    """FVU and dead latents on `shards`.

    The figures of `quality.reconstruction`, and nothing else of it, so that a change of what is
    reported trains no SAE again.

    Args:
        training: where more than `max_dead` of the latents are silent on `shards`, which may be
            small, these are read for latents that are active after all: until so few are silent,
            or ENOUGH activations are read.
    """
    values = []
    alive = torch.zeros(sae.d_sae, dtype=torch.bool, device=sae.W_dec.device)
    for layer in sae.layers:
        centre = sae.layer_mean[sae.layers.index(layer)].double()
        error, square = centre.new_zeros(()), centre.new_zeros(())
        total, n_tokens = torch.zeros_like(centre), 0
        for x in layer_blocks(shards, layer):
            x = x.to(centre.device)
            latents = sae.encode(x, layer)
            _mark(alive, latents)
            error += (x.double() - sae.decode(latents, layer).double()).square().sum()
            centred = x.double() - centre
            square += centred.square().sum()
            total += centred.sum(0)
            n_tokens += len(x)
        values.append((error / (square - total.square().sum() / n_tokens)).item())
    for layer in sae.layers:
        n_read = 0
        for x in layer_blocks(training, layer):
            if n_read >= ENOUGH // len(sae.layers) or _dead_fraction(alive) <= max_dead:
                break
            _mark(alive, sae.encode(x.to(alive.device), layer))
            n_read += len(x)
    return Validation(sum(values) / len(values), _dead_fraction(alive))


def _mark(alive: torch.Tensor, latents: Latents) -> None:
    alive[latents.indices[latents.values > 0]] = True


def _dead_fraction(alive: torch.Tensor) -> float:
    return (~alive).double().mean().item()
