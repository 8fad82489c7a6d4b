"""What a specialised SAE takes over from the one that it starts from."""

from pathlib import Path
from typing import NamedTuple

from clustersae.runtime.tensors import checksum
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae


class Start(NamedTuple):
    """The SAE that another one starts from.

    Attributes:
        n_read: how many activations it has read.
        checksum: of its weights.
    """

    sae: SparseAutoencoder
    n_read: int
    checksum: str


def load_start(folder: str | Path, fingerprint: str) -> Start:
    """The SAE in `folder` as another one starts from it.

    Raises:
        InputError: as `load_sae`.
    """
    sae = load_sae(folder, fingerprint=fingerprint)
    return Start(sae, sae.config["n_steps"] * sae.config["batch_size"], checksum(sae.state_dict()))
