"""What the SAE of one layer loses on another, which is what a distance between layers should say.

The SAE of layer i is read on layer j with layer j's own mean and scale, as a shared SAE would be;
its dictionary has seen nothing of layer j. The excess of a pair is

    FVU of layer i's SAE on layer j / FVU of layer j's own SAE − 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from clustersae.quality.reconstruction import evaluate_layer
from clustersae.sae.module import SparseAutoencoder


def moved(sae: SparseAutoencoder, to: SparseAutoencoder) -> SparseAutoencoder:
    """The dictionary of `sae` with the layer and the normalisation of `to`; nothing is copied."""
    options = {name: getattr(sae, name) for name in sae.options}
    other = type(sae)(to.layers, sae.d_sae, sae.k, to.layer_mean, to.layer_scale, **options)
    own = {name: getattr(to, name).to(sae.W_dec.device) for name in ("layer_mean", "layer_scale")}
    other.load_state_dict(sae.state_dict() | own, assign=True)
    return other.requires_grad_(False)


def transfer_rows(
    saes: Mapping[int, SparseAutoencoder], blocks: Mapping[int, Iterable[torch.Tensor]]
) -> Iterator[dict[str, Any]]:
    """FVU of every layer's SAE on every layer: rows with source, target, n_tokens and fvu.

    Args:
        saes: layer → its own SAE.
        blocks: layer → held-out activations [n, d_model]; each is read once for every SAE.
    """
    for target, own in saes.items():
        held = list(blocks[target])
        for source, sae in saes.items():
            found = evaluate_layer(moved(sae, own), target, held).compute()
            yield {
                "source": source,
                "target": target,
                "n_tokens": found["n_tokens"],
                "fvu": found["fvu"],
            }
