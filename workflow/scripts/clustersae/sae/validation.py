"""What trainings are compared by while they are tuned."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from clustersae.activations.blocks import Rows, reading_blocks
from clustersae.runtime.errors import InputError
from clustersae.sae.module import Latents, SparseAutoencoder

#: Activations that it takes to tell latents that fire rarely from dead ones; more are not read.
ENOUGH = 1_000_000

#: Of a sum of squares, what may be left of a variance of 0.
ROUNDING = 1e-13


class Validation(NamedTuple):
    """What an SAE does on the validation split.

    Attributes:
        fvu: mean over the SAE's layers.
        dead_fraction: share of the latents that were active on no token of any of the layers.
        l0: active latents per token, mean over the layers; of a crosscoder, per token.
    """

    fvu: float
    dead_fraction: float
    l0: float


@torch.no_grad()
def validate(
    sae: SparseAutoencoder,
    shards: Sequence[Rows],
    training: Sequence[Rows] = (),
    max_dead: float = 0.0,
) -> Validation:
    """FVU, dead and active latents on `shards`.

    The figures of `quality.reconstruction`, and nothing else of it, so that a change of what is
    reported trains no SAE again.

    Args:
        training: where more than `max_dead` of the latents are silent on `shards`, which may be
            small, these are read for latents that are active after all: until so few are silent,
            or ENOUGH activations are read.
    """
    values, counts = [], []
    alive = torch.zeros(sae.d_sae, dtype=torch.bool, device=sae.W_dec.device)
    for layers in sae.readings:
        centres = [sae.layer_mean[sae.layers.index(layer)].double() for layer in layers]
        sums, active = [_Sums(centre) for centre in centres], alive.new_zeros((), dtype=torch.int64)
        for block in reading_blocks(shards, layers):
            xs = [x.to(alive.device) for x in block]
            latents = sae.encode_reading(xs, layers)
            _mark(alive, latents)
            active += (latents.values > 0).sum()
            for each, x, found in zip(sums, xs, sae.decode_reading(latents, layers)):
                each.add(x, found)
        values += [each.fvu() for each in sums]
        counts.append(active.item() / sums[0].n_tokens)
    for layers in sae.readings:
        n_read = 0
        for block in reading_blocks(training, layers):
            if n_read >= ENOUGH // len(sae.layers) or _dead_fraction(alive) <= max_dead:
                break
            _mark(alive, sae.encode_reading([x.to(alive.device) for x in block], layers))
            n_read += len(block[0])
    return Validation(_mean(values), _dead_fraction(alive), _mean(counts))


class _Sums:
    """Of one layer, in float64; `centre` [d_model] is a point near its mean."""

    def __init__(self, centre: torch.Tensor) -> None:
        self.centre, self.total, self.n_tokens = centre, torch.zeros_like(centre), 0
        self.error, self.square = centre.new_zeros(()), centre.new_zeros(())

    def add(self, x: torch.Tensor, reconstruction: torch.Tensor) -> None:
        self.error += (x.double() - reconstruction.double()).square().sum()
        centred = x.double() - self.centre
        self.square += centred.square().sum()
        self.total += centred.sum(0)
        self.n_tokens += len(x)

    def fvu(self) -> float:
        return unexplained(self.error, self.square, self.total, self.n_tokens)


def unexplained(
    error: torch.Tensor, square: torch.Tensor, total: torch.Tensor, n_tokens: int
) -> float:
    """FVU of held-out tokens of one layer, from sums over them in float64.

    Args:
        error: of the squares of what is lost, []; square: of those of activations, [].
        total: of activations, [d_model], from the same centre as the squares.

    Raises:
        InputError: the tokens do not vary.
    """
    variance = square - total.square().sum() / n_tokens
    if variance <= ROUNDING * square:
        raise InputError(
            f"The {n_tokens} held-out activations of a layer are all the same, so there is no"
            " variance to explain. Raise activations.tokens.validation and activations.tokens.test."
        )
    return (error / variance).item()


def _mark(alive: torch.Tensor, latents: Latents) -> None:
    alive[latents.indices[latents.values > 0]] = True


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _dead_fraction(alive: torch.Tensor) -> float:
    return (~alive).double().mean().item()
