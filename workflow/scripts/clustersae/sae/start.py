"""What a specialised SAE takes over from the one that it starts from."""

from pathlib import Path
from typing import NamedTuple

from clustersae.runtime.tensors import checksum
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae


class Start(NamedTuple):
    """The SAE that another one starts from.

    Attributes:
        checksum: of its weights.
        is_other_layer: it serves another layer, and only its weights are of use.
        folder, fingerprint: where it was read from, and what `load_start` was told.
    """

    sae: SparseAutoencoder
    checksum: str
    is_other_layer: bool = False
    folder: str | Path | None = None
    fingerprint: str = ""

    def __reduce__(self) -> tuple:
        """Another process reads the SAE itself: shared memory may be small."""
        if self.folder is None:
            return Start, tuple(self)
        return load_start, (self.folder, self.fingerprint, self.is_other_layer)


def load_start(folder: str | Path, fingerprint: str, is_other_layer: bool = False) -> Start:
    """The SAE in `folder` as another one starts from it, which may read another layer.

    Raises:
        InputError: as `load_sae`.
    """
    sae = load_sae(folder, fingerprint=fingerprint)
    return Start(sae, checksum(sae.state_dict()), is_other_layer, folder, fingerprint)
