"""Texts of one symbol per byte: read, encoded and laid out in rows, a hundred megabytes at once.

Bytes are characters as in latin-1, in which every byte is one: so the published runs count the
symbols of enwik8. Text8 and tiny Shakespeare are ASCII.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted

CHUNK_BYTES = 1 << 22  # numpy widens a chunk to eight bytes per symbol


def read_symbols(path: Path) -> np.ndarray:
    """The bytes of a file, uint8 [n].

    Raises:
        InputError: the file is absent or empty.
    """
    try:
        symbols = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    if len(symbols) == 0:
        raise InputError(f"{path} is empty.")
    return symbols


def digest(symbols: np.ndarray, algorithm: str) -> str:
    """Checksum of the bytes: md5 or sha256, in hexadecimal digits."""
    return hashlib.new(algorithm, symbols.data, usedforsecurity=False).hexdigest()


def alphabet(symbols: np.ndarray) -> np.ndarray:
    """The byte values that occur, ascending: uint8 [n_symbols]."""
    occurs = np.zeros(256, dtype=bool)
    for chunk in _chunks(symbols):
        occurs |= np.bincount(chunk, minlength=256) > 0
    return np.flatnonzero(occurs).astype(np.uint8)


def encode(symbols: np.ndarray, letters: np.ndarray) -> None:
    """Replace every byte of `symbols`, in place, by its index in `letters` (see `alphabet`)."""
    table = np.zeros(256, dtype=np.uint8)
    table[letters] = np.arange(len(letters))
    for chunk in _chunks(symbols):
        chunk[:] = table[chunk]


def rows(ids: np.ndarray, bounds: Mapping[str, tuple[int, int]], n_ctx: int) -> dict[str, Tensor]:
    """Views [n_rows, n_ctx] of ids [n], split by split; flattened, each is running text.

    What does not fill a row at the end of a split, less than n_ctx symbols, is left out.

    Args:
        bounds: first index of a split and the one after its last; splits may overlap.

    Raises:
        InputError: a split is shorter than a row.
    """
    result = {}
    for split, (start, stop) in bounds.items():
        n_rows = (stop - start) // n_ctx
        if n_rows == 0:
            raise InputError(
                f"The {split} split has {counted(stop - start, 'character')}, fewer than a row of"
                f" n_ctx {n_ctx}: give more text or a smaller n_ctx."
            )
        text = torch.from_numpy(ids[start : start + n_rows * n_ctx])
        result[split] = text.reshape(n_rows, n_ctx)
    return result


def _chunks(symbols: np.ndarray) -> list[np.ndarray]:
    """Consecutive views of an array."""
    return [symbols[start : start + CHUNK_BYTES] for start in range(0, len(symbols), CHUNK_BYTES)]
