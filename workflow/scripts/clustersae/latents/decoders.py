"""Decoders of many SAEs, of which few are held: in real models they take GB each."""

from pathlib import Path

import torch
import torch.nn.functional as F

from clustersae.runtime.tensors import open_tensors

#: Decoders, and SAEs that are read on the same tokens, are held as long as they take no more.
HELD_BYTES = 2 * 10**9


class Decoders:
    """Decoders [d_sae, d_model] with rows of unit norm, by the folder of the SAE.

    Those that were asked for last are held, up to HELD_BYTES and one at least; the others are read
    again when they are asked for.
    """

    def __init__(self, where: torch.device) -> None:
        self._where = where
        self._held: dict[Path, torch.Tensor] = {}  # what was asked for last comes last

    def hold(self, folder: Path, decoder: torch.Tensor) -> None:
        self._held.pop(folder, None)
        self._held[folder] = decoder
        while len(self._held) > 1 and sum(each.nbytes for each in self._held.values()) > HELD_BYTES:
            del self._held[next(iter(self._held))]

    def of(self, folder: Path) -> torch.Tensor:
        decoder = self._held.get(folder)
        if decoder is None:
            with open_tensors(folder / "sae.safetensors") as file:
                rows = file.get_tensor("W_dec").to(self._where, torch.float32)
            decoder = F.normalize(rows, dim=1)
        self.hold(folder, decoder)
        return decoder
