"""Codes of all SAEs of an arm, of whose decoders few are held: in real models they take GB each."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from scipy import sparse

from clustersae.latents.code import Code
from clustersae.latents.decoders import Decoders


class Codes(Mapping[int, Code]):
    """What SAEs make of a text, by layer.

    Args:
        folders: of the SAE that reads each layer.
        activations: [n_tokens, d_sae] of each layer.
    """

    def __init__(
        self,
        decoders: Decoders,
        folders: Mapping[int, Path],
        activations: Mapping[int, sparse.csr_array],
    ) -> None:
        self._decoders, self._folders, self._activations = decoders, folders, activations

    def __getitem__(self, layer: int) -> Code:
        return Code(self._decoders.of(self._folders[layer]), self._activations[layer])

    def __iter__(self) -> Iterator[int]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)
