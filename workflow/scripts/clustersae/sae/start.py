"""What a specialised SAE takes over from the one that it starts from."""

from pathlib import Path
from typing import NamedTuple

import torch

from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import checksum, load_tensors, save_tensors
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae


class Start(NamedTuple):
    """The SAE that another one starts from.

    Attributes:
        optimizer: the state of its optimiser, where that is carried over.
        n_read: how many activations it and its own ancestors have read.
        checksum: of its weights.
    """

    sae: SparseAutoencoder
    optimizer: dict[str, torch.Tensor] | None
    n_read: int
    checksum: str


def save_optimizer(folder: str | Path, state: dict[str, torch.Tensor], fingerprint: str) -> None:
    """Write optimizer.safetensors into an SAE's folder: the moments, or nothing if none is kept.

    It is written in either case: an output that comes and goes with the configuration would keep
    Snakemake from seeing that the configuration has changed.
    """
    save_tensors(Path(folder) / "optimizer.safetensors", state, {"fingerprint": fingerprint})


def load_start(folder: str | Path, fingerprint: str, with_optimizer: bool = False) -> Start:
    """The SAE in `folder` as another one starts from it.

    Raises:
        InputError: as `load_sae`.
    """
    sae = load_sae(folder, fingerprint=fingerprint)
    state = None
    if with_optimizer:
        state, _ = load_tensors(Path(folder) / "optimizer.safetensors")
        if not state:
            raise InputError(
                f"{folder} was trained without keeping the state of its optimiser, so that cannot"
                " be carried over. Delete the folder and run again."
            )
    n_read = (sae.config["first_step"] + sae.config["n_steps"]) * sae.config["batch_size"]
    return Start(sae, state, n_read, checksum(sae.state_dict()))
