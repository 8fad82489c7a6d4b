"""What all sparse autoencoders that several layers share have in common.

Every layer has its own normalisation x̄ = (x - μ_l) / σ_l, stored in the SAE, so that layers of
different scale can use one dictionary and an SAE can never be applied with another layer's scale.
What makes an architecture stands in its file in `sae.architectures`.

Dimensions: n tokens, d_model, d_sae latents, k active latents per token.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from clustersae.experiment.architectures import held_bytes
from clustersae.runtime.errors import InputError


class Latents(NamedTuple):
    """Sparse activations of an SAE; entries with value 0 are inactive.

    Where tokens have different numbers of active latents, k is that of the busiest one.
    """

    indices: torch.Tensor  # int64 [..., k]
    values: torch.Tensor  # [..., k], not negative


class TrainingOutput(NamedTuple):
    """What one training batch gives."""

    reconstruction: torch.Tensor  # [n, d_model], normalised space
    values: torch.Tensor  # [...], not negative: one for each of `indices`, or else [n, d_sae]
    indices: torch.Tensor | None = None  # int64 [...], which latents `values` are of
    extra: torch.Tensor | None = None  # what else the architecture's own loss is about

    def firings(self, d_sae: int) -> torch.Tensor:
        """On how many tokens each latent is active, int64 [d_sae]."""
        active = self.values > 0
        if self.indices is None:
            return active.sum(0)
        fired = torch.zeros(d_sae, dtype=torch.int64, device=active.device)
        return fired.index_add_(0, self.indices.reshape(-1), active.reshape(-1).to(fired.dtype))


class SparseAutoencoder(nn.Module, ABC):
    """One dictionary for some layers, with one normalisation for each of them.

        pre = (x̄ - b_dec) W_enc + b_enc,  z = what the architecture makes of pre,
        x̂ = σ_l (z W_dec + b_dec) + μ_l

    Args:
        layers: the layers of the cluster, ascending.
        k: active latents per token, at most d_sae; what it means, the architecture says.
        layer_mean: μ [n_cluster_layers, d_model].
        layer_scale: σ [n_cluster_layers], or [n_cluster_layers, d_model] where every dimension
            has its own.
    """

    #: What the configuration calls the architecture.
    name: ClassVar[str]
    #: Whether rows of the decoder have unit norm after every step.
    unit_rows: ClassVar[bool] = True
    #: Whether AuxK can reach dead latents: they have positive pre-activations.
    revives: ClassVar[bool] = True
    #: Whether a token has one code for all layers, from its activations at all of them.
    joint: ClassVar[bool] = False
    #: Settings that the constructor takes as well.
    options: ClassVar[tuple[str, ...]] = ()

    layer_mean: torch.Tensor
    layer_scale: torch.Tensor
    config: dict[str, Any]  # cfg.json, of an SAE that was read from disk

    def __init__(
        self,
        layers: Sequence[int],
        d_sae: int,
        k: int,
        layer_mean: torch.Tensor,
        layer_scale: torch.Tensor,
    ) -> None:
        super().__init__()
        if not 1 <= k <= d_sae:
            raise InputError(f"sae.k is {k}, but must lie between 1 and d_sae = {d_sae}.")
        d_model = layer_mean.shape[1] * (len(layer_mean) if self.joint else 1)
        self.layers = tuple(layers)
        self.k = k
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_model))
        # Held transposed in memory: gathers of columns and sparse gradients are then contiguous.
        self.W_enc = nn.Parameter(torch.zeros(d_sae, d_model).t())
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("layer_mean", layer_mean.to(torch.float32))
        self.register_buffer("layer_scale", layer_scale.to(torch.float32))
        self.add_parameters()

    def add_parameters(self) -> None:
        """Parameters and buffers that an architecture has beyond the four weights."""

    @staticmethod
    def latent_dimension(parameter: str) -> int | None:
        """Along which dimension of a parameter latents lie; None if it is of no latent."""
        return {"W_enc": 1, "b_dec": None}.get(parameter, 0)

    @property
    def d_model(self) -> int:
        """Of what is encoded: the stream, or of a crosscoder the streams of all layers."""
        return self.W_dec.shape[1]

    @property
    def d_sae(self) -> int:
        return self.W_dec.shape[0]

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Random decoder rows of unit norm, the encoder their transpose, biases zero."""
        rows = torch.randn(self.d_sae, self.d_model, generator=generator)
        self.W_dec.copy_(F.normalize(rows, dim=1))
        self.W_enc.copy_(self.W_dec.t())
        self.b_enc.zero_()
        self.b_dec.zero_()

    @torch.no_grad()
    def take_over(self, other: "SparseAutoencoder", is_other_layer: bool = False) -> None:
        """Start from the weights of an SAE of the same shape; the normalisation stays one's own.

        Args:
            is_other_layer: `other` is meant to serve other layers: what it learned there is only
                where training begins.

        Raises:
            InputError: architecture or shapes differ, or `other` does not serve all of these
                layers (or does, where it is not meant to).
        """
        if type(self) is not type(other):
            raise InputError(
                f"An SAE of the architecture {type(self).__name__} cannot start from one of"
                f" {type(other).__name__}."
            )
        if (self.d_sae, self.d_model, self.k) != (other.d_sae, other.d_model, other.k):
            raise InputError(
                f"An SAE with d_sae = {self.d_sae}, d_model = {self.d_model}, k = {self.k} cannot"
                f" start from one with {other.d_sae}, {other.d_model}, {other.k}."
            )
        if (set(self.layers) <= set(other.layers)) == is_other_layer:
            raise InputError(
                f"An SAE of the layers {list(self.layers)} cannot"
                f" {'take over as another layer' if is_other_layer else 'start'}"
                f" from one that serves {list(other.layers)}."
            )
        for name, own in self.state_dict().items():
            if name not in ("layer_mean", "layer_scale"):
                own.copy_(getattr(other, name))

    def _index(self, layer: int | None) -> int:
        if layer is None and len(self.layers) == 1:
            return 0
        if layer not in self.layers:
            raise InputError(
                f"This SAE serves the layers {list(self.layers)}, not {layer}: name one of them."
            )
        return self.layers.index(layer)

    def normalise(self, x: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """x̄ for the activations x [..., d_model] of `layer`."""
        index = self._index(layer)
        return (x.to(self.layer_mean.dtype) - self.layer_mean[index]) / self.layer_scale[index]

    def denormalise(self, x: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        index = self._index(layer)
        return x * self.layer_scale[index] + self.layer_mean[index]

    def pre_activations(self, normalised: torch.Tensor) -> torch.Tensor:
        """Of all latents, for normalised activations [..., d_model]: [..., d_sae]."""
        return (normalised - self.b_dec) @ self.W_enc + self.b_enc

    @abstractmethod
    def activate(self, normalised: torch.Tensor) -> Latents:
        """The active latents of normalised activations [..., d_model]."""

    @abstractmethod
    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        """Encode and decode normalised activations [n, d_model], differentiable in the weights."""

    def loss(
        self,
        fvu: torch.Tensor,
        fvu_of: Callable[[torch.Tensor], torch.Tensor],
        output: TrainingOutput,
        sparsity: float,
    ) -> torch.Tensor:
        """What is minimised, but for AuxK.

        Args:
            fvu: of `output`, as of `loss.fvu_loss`.
            fvu_of: that of another reconstruction [n, d_model] of the same activations.
            sparsity: weight of the term that makes latents sparse, if there is one.
        """
        return fvu

    @torch.no_grad()
    def after_step(self, output: TrainingOutput) -> None:
        """What follows each step of the optimiser, whose batch gave `output`."""
        if self.unit_rows:
            self.W_dec.copy_(F.normalize(self.W_dec, dim=1))

    def bytes_per_token(self) -> int:
        """Of a batch, in a training step at its peak, beside weights, gradients and moments."""
        return held_bytes(self.name, self.d_model, self.d_sae, self.k)

    def encode(self, x: torch.Tensor, layer: int | None = None) -> Latents:
        """The active latents of raw activations x [..., d_model]; one layer need not be named."""
        return self.activate(self.normalise(x, layer))

    def decode(self, latents: Latents, layer: int | None = None) -> torch.Tensor:
        """The reconstruction in raw space, [..., d_model]."""
        shape = latents.values.shape
        flat = F.embedding_bag(
            latents.indices.reshape(-1, shape[-1]),
            self.W_dec,
            per_sample_weights=latents.values.reshape(-1, shape[-1]),
            mode="sum",
        )
        return self.denormalise(flat.view(*shape[:-1], self.d_model) + self.b_dec, layer)

    def reconstruct(
        self, x: torch.Tensor, layer: int | None = None, bounded: bool = False
    ) -> torch.Tensor:
        """decode(encode(x)) in raw space, in the dtype of x.

        Args:
            bounded: shorten what is longer than x, both from the layer's mean, in normalised space:
                x̂ ← μ_l + (x̂ − μ_l) · min(1, ‖x − μ_l‖ / ‖x̂ − μ_l‖). Of activations as in training
                that changes next to nothing, since a reconstruction is shorter on average. Of what
                other SAEs have written it keeps errors from growing: SAEs with a common start have
                the same directions, each overshoots along them, and the next one starts from that.
        """
        found = self.decode(self.encode(x, layer), layer)
        if bounded:
            own, limit = self.normalise(found, layer), self.normalise(x, layer)
            length = own.norm(dim=-1, keepdim=True)
            shorter = limit.norm(dim=-1, keepdim=True) / length.clamp(min=1e-30)
            found = torch.where(shorter < 1, self.denormalise(own * shorter, layer), found)
        return found.to(x.dtype)

    @property
    def readings(self) -> tuple[tuple[int, ...], ...]:
        """The layers, by which of them are encoded together: here each by itself."""
        return tuple((layer,) for layer in self.layers)

    def encode_reading(self, xs: Sequence[torch.Tensor], layers: Sequence[int]) -> Latents:
        """The active latents of one of `readings`, from raw activations [..., d_model] of each."""
        (x,), (layer,) = xs, layers
        return self.encode(x, layer)

    def decode_reading(self, latents: Latents, layers: Sequence[int]) -> list[torch.Tensor]:
        """The reconstruction [..., d_model] in raw space of each layer of one of `readings`."""
        (layer,) = layers
        return [self.decode(latents, layer)]

    def latent_scale(self, layer: int | None = None) -> torch.Tensor:
        """What latents are multiplied by when the SAE is folded: a number, or one each [d_sae]."""
        scale = self.layer_scale[self._index(layer)]
        return torch.ones_like(scale[0]) if scale.dim() else scale

    @torch.no_grad()
    def fold(self, layer: int | None = None) -> dict[str, torch.Tensor]:
        """The plain SAE of one layer: weights that take raw activations without normalisation.

        Decoder rows keep their norm (so latents are in units of σ_l times the shared ones):
        W_enc stays, W_dec stays, latents are scaled by σ_l through the encoder,

            pre' = σ_l pre = (x - b') W_enc + σ_l b_enc,   b' = μ_l + σ_l b_dec.

        TopK picks the same latents, since all pre-activations of a token share the factor σ_l;
        architectures with thresholds scale these as well (`latent_scale`).

        With a scale per dimension the latents stay what they are and the weights change, each
        dimension by its own: rows σ_l W_dec have different norms, and to scale latents
        differently would let TopK pick others.
        """
        index = self._index(layer)
        scale, mean = self.layer_scale[index], self.layer_mean[index]
        if scale.dim():
            return {
                "W_enc": self.W_enc.detach() / scale[:, None],
                "b_enc": self.b_enc.detach().clone(),
                "W_dec": self.W_dec.detach() * scale,
                "b_dec": self.b_dec * scale + mean,
            }
        return {
            "W_enc": self.W_enc.detach().clone(),
            "b_enc": self.b_enc * scale,
            "W_dec": self.W_dec.detach().clone(),
            "b_dec": self.b_dec * scale + mean,
        }


def positive(dense: torch.Tensor) -> Latents:
    """The positive entries of `dense` [..., d_sae], which has no negative ones."""
    width = int((dense > 0).sum(-1).max()) if dense.numel() else 0
    values, indices = torch.topk(dense, max(1, width), dim=-1, sorted=False)
    return Latents(indices, values)


def joined(parts: Sequence[Latents]) -> Latents:
    """Latents of all parts [n_i, ..., k_i] one after the other, as wide as the widest."""
    width = max(part.values.shape[-1] for part in parts)
    columns = zip(*parts)
    return Latents(
        *(
            torch.cat([F.pad(part, (0, width - part.shape[-1])) for part in column])
            for column in columns
        )
    )
