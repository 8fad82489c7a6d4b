"""Which tokens are left out: special ones, those that begin a row without a BOS, outliers.

Language models park attention on a few tokens whose activations are a hundred times as large as
all others ("massive activations", Sun et al. 2024, arXiv 2402.17762). Ten of them can carry most of
a layer's variance; then the scale of the layer, FVU and the loss of an SAE say how well ten tokens
are reconstructed. Which tokens of a text are special, or first, is known from their ids
(`corpora.tokens`). Which are outliers depends on the model: a token whose norm exceeds a multiple
of the layer's median norm, at any studied layer. The medians are settled on a sample before
anything is cached, so that every shard and every measurement inside the model agrees.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch

from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors, save_tensors

#: Tokens that the medians are taken over.
SAMPLE_TOKENS = 8192


class Reason(IntEnum):
    """Why a token is left out; the first that holds."""

    SPECIAL = 0
    FIRST = 1  # of a row that does not begin with a BOS: it has nothing to attend to but itself
    NORM = 2


@dataclass(frozen=True)
class NormLimits:
    """The norm beyond which a token is left out, for every studied layer.

    Attributes:
        layers: the studied layers, ascending.
        median: float64 [n_layers], of the norm of the activations.
        multiple: of the median, which is the limit; None for no limit.
        mean: float32 [n_layers, d_model], of the tokens within the limits.
        share_kept: tokens within the limits, of those that are neither special nor first.
        n_tokens: that these were measured on.
        fingerprint: of the model.
    """

    layers: tuple[int, ...]
    median: torch.Tensor
    multiple: float | None
    mean: torch.Tensor
    share_kept: float
    n_tokens: int
    fingerprint: str

    @property
    def limit(self) -> torch.Tensor:
        """Largest norm of a token that is kept, float64 [n_layers]."""
        return self.median * (math.inf if self.multiple is None else self.multiple)

    def inside(self, streams: Sequence[torch.Tensor]) -> torch.Tensor:
        """Which tokens are within the limit at every studied layer, bool [...].

        Args:
            streams: of every studied layer, [..., d_model].
        """
        if len(streams) != len(self.layers):
            raise ValueError(f"{len(streams)} streams for the {len(self.layers)} studied layers.")
        kept = torch.ones(streams[0].shape[:-1], dtype=torch.bool, device=streams[0].device)
        for x, limit in zip(streams, self.limit.tolist()):
            kept &= within(x, limit)
        return kept

    def described(self) -> dict[str, Any]:
        """The limits as cfg.json of an SAE has them."""
        limits = zip(self.layers, self.limit.tolist())
        none = self.multiple is None
        return {
            "max_norm_multiple": self.multiple,
            "max_norm": None if none else {str(layer): limit for layer, limit in limits},
        }


def within(x: torch.Tensor, limit: float) -> torch.Tensor:
    """Which activations x [..., d_model] have a norm of at most `limit`, bool [...].

    NaN counts as within, so that whoever looks for damage still finds it.
    """
    return ~(x.float().norm(dim=-1) > limit)


def settle_limits(
    norms: torch.Tensor,
    mean_of: Callable[[torch.Tensor], torch.Tensor],
    layers: Sequence[int],
    multiple: float | None,
    fingerprint: str,
) -> NormLimits:
    """The limits, from the norms of a sample.

    Args:
        norms: float32 [n_layers, n_tokens].
        mean_of: gives the mean activations [n_layers, d_model] of the tokens that a mask bool
            [n_tokens] keeps.

    Raises:
        InputError: half of a layer's activations, or more, are zero.
    """
    median = norms.double().median(dim=1).values
    for layer, value in zip(layers, median.tolist()):
        if not value > 0:
            raise InputError(
                f"Half of the activations of layer {layer} are zero or not finite. Check that the"
                " model's weights were loaded."
            )
    limit = median * (math.inf if multiple is None else multiple)
    kept = ~(norms > limit[:, None]).any(0)
    return NormLimits(
        tuple(layers),
        median,
        multiple,
        mean_of(kept),
        float(kept.double().mean()),
        norms.shape[1],
        fingerprint,
    )


def save_limits(path: str | Path, limits: NormLimits) -> None:
    """Write the limits."""
    metadata = {
        "layers": json.dumps(limits.layers),
        "multiple": json.dumps(limits.multiple),
        "share_kept": repr(limits.share_kept),
        "n_tokens": str(limits.n_tokens),
        "fingerprint": limits.fingerprint,
    }
    save_tensors(path, {"median": limits.median, "mean": limits.mean}, metadata)


def load_limits(path: str | Path, fingerprint: str | None = None) -> NormLimits:
    """Read the limits.

    Raises:
        InputError: the file is damaged, or of another model than `fingerprint` says.
    """
    tensors, metadata = load_tensors(path)
    try:
        limits = NormLimits(
            tuple(json.loads(metadata["layers"])),
            tensors["median"],
            json.loads(metadata["multiple"]),
            tensors["mean"],
            float(metadata["share_kept"]),
            int(metadata["n_tokens"]),
            metadata["fingerprint"],
        )
    except KeyError as missing:
        raise InputError(
            f"{path} holds no norm limits: {missing} is missing. Delete it and run again."
        ) from None
    if fingerprint is not None and limits.fingerprint != fingerprint:
        raise InputError(f"{path} belongs to another model. Delete it and run again.")
    return limits
