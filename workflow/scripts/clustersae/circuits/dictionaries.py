"""How the stream of one layer is written as a sum of latents' directions and an error.

    x = Σ_j z_j r_j + b + e     in raw space: r_j = σ_l · decoder row j,  b = σ_l b_dec + μ_l

`ResidualBasis` is the control without an SAE: the latents are the coordinates of x themselves, and
nothing is left for the error.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from clustersae.sae import sparse
from clustersae.sae.module import Latents, SparseAutoencoder, joined


class Dictionary(Protocol):
    """The directions r_j of one layer, and how x is encoded in them."""

    n_latents: int

    @property
    def offset(self) -> torch.Tensor:
        """b [d_model]."""
        ...

    def encode(self, x: torch.Tensor) -> Latents:
        """The active latents of x [..., d_model]: indices and values [..., k]."""
        ...

    def combine(self, latents: Latents) -> torch.Tensor:
        """Σ_j z_j r_j, [..., d_model]; indices may occur twice, values may be negative."""
        ...

    def combine_dense(self, values: torch.Tensor) -> torch.Tensor:
        """The same for values [..., n_latents] of all latents."""
        ...

    def moments(self, latents: Latents, g: torch.Tensor) -> torch.Tensor:
        """Σ_n z_nj (r_j · g_n) for every latent j, [n_latents].

        Args:
            latents: of n tokens, [n, k]; g: [n, d_model].
        """
        ...

    def direction(self, latent: int) -> torch.Tensor:
        """r_j [d_model]."""
        ...


#: Layer → its dictionary. Layers without one are left as they are.
Dictionaries = Mapping[int, Dictionary]


class SAEDictionary:
    """One layer of an SAE, which other layers may share."""

    def __init__(self, sae: SparseAutoencoder, layer: int) -> None:
        self.sae, self.layer = sae, layer
        self.n_latents = sae.d_sae
        self.rows = sae.W_dec.detach()
        self.scale = sae.layer_scale[sae.layers.index(layer)]
        self.offset = sae.denormalise(sae.b_dec, layer).detach()

    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> Latents:
        return self.sae.encode(x, self.layer)

    def combine(self, latents: Latents) -> torch.Tensor:
        shape = latents.values.shape
        flat = F.embedding_bag(
            latents.indices.reshape(-1, shape[-1]),
            self.rows,
            per_sample_weights=latents.values.reshape(-1, shape[-1]),
            mode="sum",
        )
        return flat.view(*shape[:-1], -1) * self.scale

    def combine_dense(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self.rows * self.scale

    def moments(self, latents: Latents, g: torch.Tensor) -> torch.Tensor:
        # Σ_n z_nj g_n first, [n_latents, d_model]: no product of all rows with all tokens.
        sums = sparse.transpose(latents.indices, self.n_latents).product(latents.values, g)
        return (sums * (self.rows * self.scale)).sum(1)

    def direction(self, latent: int) -> torch.Tensor:
        return self.rows[latent] * self.scale


class ResidualBasis:
    """The coordinates of the stream as latents; the error is zero."""

    def __init__(self, d_model: int, device: torch.device | str = "cpu") -> None:
        self.n_latents = d_model
        self.offset = torch.zeros(d_model, device=device)
        self._indices = torch.arange(d_model, device=device)

    def encode(self, x: torch.Tensor) -> Latents:
        x = x.float()
        return Latents(self._indices.expand(x.shape), x)

    def combine(self, latents: Latents) -> torch.Tensor:
        # Coordinates come in order; where two sets of latents are joined, one after the other.
        return latents.values.unflatten(-1, (-1, self.n_latents)).sum(-2)

    def combine_dense(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def moments(self, latents: Latents, g: torch.Tensor) -> torch.Tensor:
        return (latents.values * g).sum(0)

    def direction(self, latent: int) -> torch.Tensor:
        return (self._indices == latent).float()


def encode_in_chunks(dictionary: Dictionary, x: torch.Tensor, max_entries: int) -> Latents:
    """`dictionary.encode(x)` for x [n_rows, ...], some rows at a time.

    Encoding holds the pre-activations of all latents, of which few remain.
    """
    per_row = dictionary.n_latents * (x[0].numel() // x.shape[-1])
    parts = [dictionary.encode(part) for part in x.split(max(1, max_entries // per_row))]
    return joined(parts)


def dictionaries_of(saes: Sequence[SparseAutoencoder]) -> dict[int, SAEDictionary]:
    """The dictionary of every layer that the SAEs serve, each of which one alone serves."""
    found = {layer: SAEDictionary(sae, layer) for sae in saes for layer in sae.layers}
    return dict(sorted(found.items()))


def residual_basis(
    layers: Sequence[int], d_model: int, device: torch.device | str = "cpu"
) -> dict[int, ResidualBasis]:
    """The control without SAEs, for the same layers."""
    return {layer: ResidualBasis(d_model, device) for layer in sorted(layers)}
