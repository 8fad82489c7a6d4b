"""What the SAE of one layer loses on another, which is what a distance between layers should say.

The SAE of layer i is read on layer j with layer j's own mean and scale, as a shared SAE would be;
its dictionary has seen nothing of layer j. The excess of a pair is

    FVU of layer i's SAE on layer j / FVU of layer j's own SAE − 1.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.quality.reconstruction import ReconstructionMetrics, evaluate_layer
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import open_tensors
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import read_config


class Home(NamedTuple):
    """What an SAE knows of its one layer, as it has it."""

    layers: tuple[int, ...]
    layer_mean: torch.Tensor
    layer_scale: torch.Tensor


def home_of(folder: Path) -> Home:
    """The home of the SAE in `folder`, whose weights are not read.

    Raises:
        InputError: it serves several layers, or the file is damaged.
    """
    layers = read_config(folder)["layers"]
    if len(layers) > 1:
        raise InputError(f"Transfer needs SAEs of single layers, not of {layers}.")
    with open_tensors(folder / "sae.safetensors") as file:
        return Home(tuple(layers), *map(file.get_tensor, ("layer_mean", "layer_scale")))


def moved(sae: SparseAutoencoder, to: Home | SparseAutoencoder) -> SparseAutoencoder:
    """The dictionary of `sae` with the layer and the normalisation of `to`; nothing is copied."""
    options = {name: getattr(sae, name) for name in sae.options}
    other = type(sae)(to.layers, sae.d_sae, sae.k, to.layer_mean, to.layer_scale, **options)
    own = {name: getattr(to, name).to(sae.W_dec.device) for name in ("layer_mean", "layer_scale")}
    other.load_state_dict(sae.state_dict() | own, assign=True)
    return other.requires_grad_(False)


def transfer_rows(
    saes: Sequence[SparseAutoencoder],
    homes: Mapping[int, Home],
    blocks: Callable[[int], Iterable[torch.Tensor]],
) -> Iterator[dict[str, Any]]:
    """FVU of SAEs of one layer each on every layer: rows with source, target, n_tokens and fvu.

    Every block is read once, for all of them.

    Args:
        homes: of the SAE of every layer, their own included.
        blocks: gives the held-out activations [n, d_model] of a layer.
    """
    for target, home in homes.items():
        there = [moved(sae, home) for sae in saes]
        sums = [ReconstructionMetrics(sae.d_sae, sae.layer_mean[0]) for sae in there]
        for x in blocks(target):
            x = x.to(sums[0].centre.device)
            sums = [evaluate_layer(sae, target, [x], known) for sae, known in zip(there, sums)]
        for sae, known in zip(saes, sums):
            found = known.compute()
            yield {
                "source": sae.layers[0],
                "target": target,
                "n_tokens": found["n_tokens"],
                "fvu": found["fvu"],
            }
