"""What a specialised SAE takes over from the one that it starts from."""

import math
from pathlib import Path
from typing import NamedTuple

from clustersae.experiment.variants import times_read
from clustersae.runtime.tensors import checksum
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae


class Start(NamedTuple):
    """The SAE that another one starts from.

    Attributes:
        n_read: how many tokens it has read at layers that the other one reads, too.
        checksum: of its weights.
        is_other_layer: it serves another layer, and only its weights are of use.
        folder, fingerprint: where it was read from, and what `load_start` was told.
    """

    sae: SparseAutoencoder
    n_read: int
    checksum: str
    is_other_layer: bool = False
    folder: str | Path | None = None
    fingerprint: str = ""

    def __reduce__(self) -> tuple:
        """Another process reads the SAE itself: shared memory may be small."""
        if self.folder is None:
            return Start, tuple(self)
        return load_start, (self.folder, self.fingerprint, self.is_other_layer)

    def first_step(self, batch_size: int) -> int:
        """The step at which the other one begins, in batches of its own size."""
        return math.ceil(self.n_read / batch_size)


def load_start(folder: str | Path, fingerprint: str, is_other_layer: bool = False) -> Start:
    """The SAE in `folder` as another one starts from it, which may read another layer.

    Raises:
        InputError: as `load_sae`.
    """
    sae = load_sae(folder, fingerprint=fingerprint)
    times = times_read(sae.config["variant"], len(sae.layers))
    n_rows = sae.config["n_steps"] * sae.config["batch_size"]
    n_read = 0 if is_other_layer else n_rows // times
    told = checksum(sae.state_dict())
    return Start(sae, n_read, told, is_other_layer, folder, fingerprint)
