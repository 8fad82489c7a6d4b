"""Architectures of SAEs, by their names in the configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.batchtopk import BatchTopK
from clustersae.sae.architectures.crosscoder import Crosscoder
from clustersae.sae.architectures.gated import Gated
from clustersae.sae.architectures.jumprelu import JumpReLU
from clustersae.sae.architectures.matryoshka import Matryoshka
from clustersae.sae.architectures.relu import ReLU
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.module import SparseAutoencoder

#: `sae.architecture` → its class.
ARCHITECTURES: Mapping[str, type[SparseAutoencoder]] = {
    kind.name: kind for kind in (TopK, BatchTopK, Matryoshka, JumpReLU, ReLU, Gated)
}


def create(
    settings: Mapping[str, Any],
    layers: Sequence[int],
    layer_mean: torch.Tensor,
    layer_scale: torch.Tensor,
) -> SparseAutoencoder:
    """An SAE of the architecture and shape that `settings` (an SAE's cfg.json) name, of zeros.

    Raises:
        InputError: there is no such architecture, or no crosscoder of that architecture.
    """
    name = settings["architecture"]
    if name not in ARCHITECTURES:
        raise InputError(f"There is no architecture {name!r}: use {', '.join(ARCHITECTURES)}.")
    kind = ARCHITECTURES[name]
    if settings.get("layers_at_once", 1) > 1:  # absent in SAEs of earlier versions
        if kind is not TopK:
            raise InputError(f"There is no crosscoder of the architecture {name}: use topk.")
        kind = Crosscoder
    options = {option: settings[option] for option in kind.options}
    shape = settings["d_sae"], settings["k"]
    return kind(layers, *shape, layer_mean, layer_scale, **options)
