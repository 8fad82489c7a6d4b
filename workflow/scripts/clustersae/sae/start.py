"""What a specialised SAE takes over from the one that it starts from."""

import math
from pathlib import Path
from typing import NamedTuple

from clustersae.runtime.tensors import checksum
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae


class Start(NamedTuple):
    """The SAE that another one starts from.

    Attributes:
        n_read: how many activations it has read of layers that the other one reads, too.
        checksum: of its weights.
        is_other_layer: it serves another layer, and only its weights are of use.
    """

    sae: SparseAutoencoder
    n_read: int
    checksum: str
    is_other_layer: bool = False

    def first_step(self, batch_size: int) -> int:
        """The step at which the other one begins, in batches of its own size."""
        return math.ceil(self.n_read / batch_size)


def load_start(folder: str | Path, fingerprint: str, is_other_layer: bool = False) -> Start:
    """The SAE in `folder` as another one starts from it, which may read another layer.

    Raises:
        InputError: as `load_sae`.
    """
    sae = load_sae(folder, fingerprint=fingerprint)
    n_read = 0 if is_other_layer else sae.config["n_steps"] * sae.config["batch_size"]
    return Start(sae, n_read, checksum(sae.state_dict()), is_other_layer)
