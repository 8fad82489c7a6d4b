"""Reconstruction and sparsity of an SAE on held-out activations, layer by layer."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.validation import unexplained

#: Latents that fire on fewer tokens than one in this many are of ultra-low density
#: (Bricken et al. 2023, "Towards Monosemanticity", use the term for the left mode of the
#: histogram).
ULTRA_LOW_DENSITY = 1e-4


@dataclass(frozen=True)
class Firings:
    """On how many tokens of a layer each latent was active; those of other tokens can be added.

    Attributes:
        fired: int64 [d_sae].
    """

    n_tokens: int
    fired: torch.Tensor

    def __add__(self, other: "Firings") -> "Firings":
        return Firings(self.n_tokens + other.n_tokens, self.fired + other.fired)

    def shares(self) -> dict[str, float]:
        """Which share of the latents never fired, and which hardly ever did, on how many tokens."""
        density = self.fired.double() / self.n_tokens
        return {
            "n_tokens_dead": self.n_tokens,
            "dead_fraction": (density == 0).double().mean().item(),
            "ultra_low_density_fraction": (density < ULTRA_LOW_DENSITY).double().mean().item(),
        }

    def histogram(self, bins_per_decade: int = 5) -> list[dict[str, Any]]:
        """Latents per bin of log10 firing density, and those that never fired.

        Rows of kind `live` have the bin's edges; the one of kind `dead` has none.
        """
        width = 1 / bins_per_decade
        live = self.fired[self.fired > 0].double() / self.n_tokens
        numbers = torch.floor(torch.log10(live) / width).long().clamp(max=-1)
        rows = [
            {
                "kind": "live",
                "log10_density_low": round(number * width, 6),
                "log10_density_high": round((number + 1) * width, 6),
                "n_latents": int((numbers == number).sum()),
            }
            for number in sorted(set(numbers.tolist()))
        ]
        dead = {"kind": "dead", "log10_density_low": "", "log10_density_high": ""}
        return [*rows, dead | {"n_latents": int((self.fired == 0).sum())}]


class ReconstructionMetrics:
    """Streaming sums over held-out tokens of one layer, in float64.

    FVU = Σ‖x - x̂‖² / Σ‖x - x̄‖² in raw space, a ratio of sums with x̄ the mean of the same
    tokens, so the result does not depend on how they are cut into batches. (A mean of ratios per
    batch or token, as in SAELens up to 5, is another number.)

    Args:
        centre: any point near the mean, [d_model]; sums of squares are taken around it, which
            keeps their precision when activations lie far from the origin.
    """

    def __init__(self, d_sae: int, centre: torch.Tensor) -> None:
        self.centre = centre.double()
        self.n_tokens = 0
        self.error = self.square = self.cosine = self.active = torch.zeros(
            (), dtype=torch.float64, device=centre.device
        )
        self.total = torch.zeros_like(self.centre)
        self.errors = torch.zeros_like(self.centre)
        self.squares = torch.zeros_like(self.centre)
        self.fired = torch.zeros(d_sae, dtype=torch.int64, device=centre.device)

    def add_batch(
        self,
        x: torch.Tensor,
        reconstruction: torch.Tensor,
        indices: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        """Add tokens: x and reconstruction [n, d_model]; indices and values [n, k]."""
        x, reconstruction = x.double(), reconstruction.double()
        centred = x - self.centre
        self.n_tokens += len(x)
        errors, squares = (x - reconstruction).square(), centred.square()
        self.error = self.error + errors.sum()
        self.square = self.square + squares.sum()
        self.errors += errors.sum(0)
        self.squares += squares.sum(0)
        self.total += centred.sum(0)
        similarity = torch.nn.functional.cosine_similarity(x, reconstruction, dim=1)
        self.cosine = self.cosine + similarity.sum()
        active = values > 0
        self.active = self.active + active.sum()
        self.fired.index_add_(0, indices.reshape(-1), active.reshape(-1).to(torch.int64))

    def compute(self) -> dict[str, float]:
        return {
            "n_tokens": self.n_tokens,
            "fvu": unexplained(self.error, self.square, self.total, self.n_tokens),
            "fvu_standardised": self._fvu_standardised(),
            "mse": (self.error / (self.n_tokens * len(self.centre))).item(),
            "cosine": (self.cosine / self.n_tokens).item(),
            "l0": (self.active / self.n_tokens).item(),
            **self.firings().shares(),
        }

    def firings(self) -> Firings:
        return Firings(self.n_tokens, self.fired)

    def _fvu_standardised(self) -> float:
        """FVU where every dimension is divided by its standard deviation: the mean of their FVUs.

        Where one dimension holds most of the variance, FVU is about that one alone.
        """
        variances = self.squares - self.total.square() / self.n_tokens
        varies = variances > 0
        return (self.errors[varies] / variances[varies]).mean().item()


@torch.no_grad()
def evaluate_layer(
    sae: SparseAutoencoder,
    layer: int,
    blocks: Iterable[torch.Tensor],
    known: ReconstructionMetrics | None = None,
) -> ReconstructionMetrics:
    """Metrics of `sae` on the activations of one layer, given as blocks [n, d_model].

    Args:
        known: of other tokens of the layer, which are counted as well; it is left as it is.
    """
    (found,) = evaluate_reading(sae, [layer], ((x,) for x in blocks), [known] if known else None)
    return found


@torch.no_grad()
def evaluate_reading(
    sae: SparseAutoencoder,
    layers: Sequence[int],
    blocks: Iterable[Sequence[torch.Tensor]],
    known: Sequence[ReconstructionMetrics] | None = None,
) -> list[ReconstructionMetrics]:
    """Metrics of each of some `layers` that are encoded together (`SparseAutoencoder.readings`).

    Args:
        blocks: of the same tokens, [n, d_model] for each of the layers.
        known: as of `evaluate_layer`, of each layer.
    """
    centres = [sae.layer_mean[sae.layers.index(layer)] for layer in layers]
    metrics = list(
        copy.deepcopy(known) or (ReconstructionMetrics(sae.d_sae, each) for each in centres)
    )
    for xs in blocks:
        xs = [x.to(centre.device) for x, centre in zip(xs, centres)]
        latents = sae.encode_reading(xs, layers)
        for each, x, found in zip(metrics, xs, sae.decode_reading(latents, layers)):
            each.add_batch(x, found, latents.indices, latents.values)
    return metrics
