"""Activation shards of an invented model, small enough to train SAEs on in a fraction of a second.

Layers hold the same sparse combinations of a dictionary, at their own place and scale and with
noise of their own, so that an SAE of all layers is a good start for one of a single layer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sae_settings_of import topk_settings

from clustersae.activations.blocks import read_blocks
from clustersae.activations.shards import open_shards, write_shard
from clustersae.activations.statistics import compute_statistics, load_statistics, save_statistics
from clustersae.sae.fitting import Activations

FINGERPRINT = "f" * 64
N_LAYERS, D_MODEL, D_SAE, K = 3, 8, 24, 3
#: Of an SAE of them, which learns something in a few steps.
SETTINGS = topk_settings(
    **{"d_sae": D_SAE, "k": K, "n_steps": 20, "batch_size": 128, "learning_rate": 0.01},
    **{"warmup_steps": 2, "decay_steps": 4, "dead_after": 500, "seed": 1},
)


def write_split(
    folder: Path, split: str = "train", rows: Sequence[int] = (1000, 700)
) -> list[Path]:
    """One shard for every number of `rows`, [n_rows, d_model] at each of N_LAYERS layers."""
    dictionary = _normal(D_SAE, D_MODEL, seed=0)
    paths = []
    for shard, n_rows in enumerate(rows):
        seed = 10 * shard + 100 * (split != "train")
        chosen = _normal(n_rows, D_SAE, seed=seed + 1).topk(K, dim=1).indices
        shared = F.normalize(dictionary, dim=1)[chosen].sum(1)
        layers = [
            (layer + 1) * (shared + 0.3 * _normal(n_rows, D_MODEL, seed=seed + 2 + layer))
            + 10 * layer
            for layer in range(N_LAYERS)
        ]
        path = folder / f"{split}-{shard}.safetensors"
        paths.append(made_shard(path, layers, split=split, shard=shard))
    return paths


def made_shard(
    path: Path,
    layers: Sequence[torch.Tensor],
    columns: Sequence[torch.Tensor] | None = None,
    **facts: Any,
) -> Path:
    """Write a shard; its rows have the token, position and sequence in `columns`, or 0 for each."""
    if columns is None:
        columns = [torch.zeros(len(layers[0]), dtype=torch.int32) for _ in range(3)]
    usual = {"fingerprint": FINGERPRINT, "hook": "hook", "split": "train", "shard": 0, "seed": 0}
    write_shard(path, layers, *columns, **usual | facts)
    return path


def write_statistics(path: Path, shards: Sequence[Path], fingerprint: str = FINGERPRINT) -> Path:
    """The layers' means and scales on `shards`."""
    opened = open_shards(shards)
    statistics = compute_statistics(read_blocks(opened))
    save_statistics(path, statistics, fingerprint, opened[0].layers, opened)
    return path


def all_layers(folder: Path) -> Activations:
    """What SAEs are trained on: the training split, made in `folder`, and its statistics."""
    paths = write_split(folder)
    found = load_statistics(write_statistics(folder / "statistics.safetensors", paths))
    return Activations(open_shards(paths), tuple(range(N_LAYERS)), found.mean, found.scale)


def of_layers(data: Activations, layers: Sequence[int]) -> Activations:
    """The same for an SAE of some of the layers."""
    index = list(layers)
    return data._replace(layers=tuple(layers), mean=data.mean[index], scale=data.scale[index])


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
