"""Crosscoders: one code of a token for all layers of a cluster (Lindsey et al. 2024).

"Sparse Crosscoders for Cross-Layer Features and Model Diffing", with TopK in place of their
penalty: every layer has an encoder and a decoder of its own, encoders are summed,

    z = TopK(ReLU(Σ_l (x̄_l − b_l) W_enc,l + b_enc)),    x̂_l = σ_l (z W_dec,l + b_l) + μ_l

Weights of the layers one beside the other are those of a TopK SAE of the layers' normalised
activations one beside the other, and so are its loss (the mean of the layers' FVUs), its gradients
and its steps. A latent's rows of all decoders together have unit norm, so that k latents are picked
by what they write at all layers; how much of it at which layer, is learnt.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch

from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.module import Latents


class Crosscoder(TopK):
    """A TopK SAE that reads and writes a token at all of its layers at once.

    W_enc is [n_layers · d_model, d_sae], W_dec [d_sae, n_layers · d_model]: layer after layer.
    """

    joint: ClassVar[bool] = True

    @property
    def readings(self) -> tuple[tuple[int, ...], ...]:
        return (self.layers,)

    def encode_reading(self, xs: Sequence[torch.Tensor], layers: Sequence[int]) -> Latents:
        return self.encode(torch.stack(tuple(xs), -2))

    def decode_reading(self, latents: Latents, layers: Sequence[int]) -> list[torch.Tensor]:
        return list(self.decode(latents).unbind(-2))

    def normalise(self, x: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """x̄ [..., n_layers · d_model] for the activations x [..., n_layers, d_model].

        Raises:
            InputError: these are not the activations of all layers.
        """
        if x.shape[-2:] != self.layer_mean.shape:
            raise InputError(
                f"A crosscoder encodes a token from its activations at all of its layers,"
                f" {list(self.layers)}, together: give [..., {len(self.layers)},"
                f" {self.layer_mean.shape[1]}], not {list(x.shape)}. One layer alone has no code."
            )
        return ((x.to(self.layer_mean.dtype) - self.layer_mean) / self._scales()).flatten(-2)

    def denormalise(self, x: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Raw activations of x̄ [..., n_layers · d_model]: of one layer [..., d_model], or of all,
        [..., n_layers, d_model].
        """
        found = x.unflatten(-1, self.layer_mean.shape) * self._scales() + self.layer_mean
        return found if layer is None else found[..., self._index(layer), :]

    def latent_scale(self, layer: int | None = None) -> torch.Tensor:
        raise self._no_sae()

    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        raise self._no_sae()

    def _no_sae(self) -> InputError:
        return InputError(
            f"The crosscoder of the layers {list(self.layers)} is no SAE of one of them: its code"
            " is read from all of these layers, so it cannot be exported as such."
        )

    def _scales(self) -> torch.Tensor:
        """σ [n_layers, 1], or [n_layers, d_model]."""
        return self.layer_scale.view(len(self.layers), -1)
