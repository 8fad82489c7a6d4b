"""Token files, and how their rows are shared out."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors, save_integers

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Vocabulary:
    """What the ids of a token file mean, without the words."""

    tokenizer: str  # where the tokenizer comes from
    vocab_size: int
    bos_id: int | None
    pad_id: int | None

    @property
    def excluded_ids(self) -> tuple[int, ...]:
        """Tokens that are never analysed: BOS and padding, ascending."""
        return tuple(sorted({each for each in (self.bos_id, self.pad_id) if each is not None}))


@dataclass(frozen=True)
class TokenFile:
    """The rows of one split of a corpus."""

    # int32 [n_rows, n_ctx], padded on the right with pad_id; uint8 before it is written, where
    # the text is too long to be widened in memory
    tokens: Tensor
    vocabulary: Vocabulary
    source: str
    source_sha256: str

    @property
    def kept(self) -> Tensor:
        """Which tokens are analysed, bool [n_rows, n_ctx]."""
        return kept_mask(self.tokens, self.vocabulary.excluded_ids)

    @property
    def scored(self) -> Tensor:
        """Positions whose next token is predicted and scored, bool [n_rows, n_ctx − 1]."""
        return self.kept[:, 1:]

    @property
    def kept_per_row(self) -> np.ndarray:
        """How many tokens of each row are analysed, int64 [n_rows]."""
        # Not kept.sum(1): torch would hold eight bytes per token.
        return np.count_nonzero(self.kept.numpy(), axis=1)


def kept_mask(tokens: Tensor, excluded_ids: Collection[int]) -> Tensor:
    """Which of `tokens` (any shape) are analysed: all but BOS and padding."""
    if not excluded_ids:
        return torch.ones((), dtype=torch.bool).expand(tokens.shape)  # takes no memory
    return ~torch.isin(tokens, torch.tensor(sorted(excluded_ids), dtype=tokens.dtype))


def write_tokens(path: str | Path, file: TokenFile) -> None:
    """Write a token file, whole or not at all."""
    vocabulary = file.vocabulary
    metadata = {
        "tokenizer": vocabulary.tokenizer,
        "vocab_size": str(vocabulary.vocab_size),
        "source": file.source,
        "source_sha256": file.source_sha256,
        "excluded_ids": json.dumps(list(vocabulary.excluded_ids)),
        "pad_id": "" if vocabulary.pad_id is None else str(vocabulary.pad_id),
        "bos_id": "" if vocabulary.bos_id is None else str(vocabulary.bos_id),
    }
    save_integers(path, "tokens", file.tokens, metadata)


def read_tokens(path: str | Path) -> TokenFile:
    """Read a token file.

    Raises:
        InputError: the file is absent, damaged, or holds something else.
    """
    tensors, metadata = load_tensors(path)
    try:
        vocabulary = Vocabulary(
            tokenizer=metadata["tokenizer"],
            vocab_size=int(metadata["vocab_size"]),
            bos_id=int(metadata["bos_id"]) if metadata["bos_id"] else None,
            pad_id=int(metadata["pad_id"]) if metadata["pad_id"] else None,
        )
        return TokenFile(
            tensors["tokens"], vocabulary, metadata["source"], metadata["source_sha256"]
        )
    except KeyError as error:
        raise InputError(
            f"{path} is not a token file (no {error}). Delete it and run again."
        ) from None


def shard_rows(kept_per_row: Sequence[int] | np.ndarray, n_shards: int) -> list[tuple[int, int]]:
    """Cut rows into `n_shards` contiguous, non-empty runs with nearly equal numbers of tokens.

    Each cut is at the row boundary nearest to its share of all tokens, so that a shard misses
    its share by less than one row at either end.

    Args:
        kept_per_row: analysed tokens of each row, [n_rows].

    Returns:
        (start, end) of each run, end exclusive; together they are all rows in order.

    Raises:
        InputError: there are more shards than rows.
    """
    n_rows = len(kept_per_row)
    if not 1 <= n_shards <= n_rows:
        raise InputError(
            f"{n_rows} rows cannot be cut into {n_shards} shards: raise activations.shard_tokens."
        )
    filled = np.concatenate([[0], np.cumsum(kept_per_row)])
    cuts = [0]
    for shard in range(1, n_shards):
        share = filled[-1] * shard / n_shards
        lowest, highest = cuts[-1] + 1, n_rows - (n_shards - shard)
        right = int(np.searchsorted(filled, share))
        nearest = right - (right > 0 and share - filled[right - 1] < filled[right] - share)
        cuts.append(int(np.clip(nearest, lowest, highest)))
    cuts.append(n_rows)
    return list(pairwise(cuts))


def rows_holding(kept_per_row: Sequence[int] | np.ndarray, n_tokens: int, split: str) -> int:
    """How many of the first rows hold at least `n_tokens` analysed tokens.

    Raises:
        InputError: the split has fewer tokens than that.
    """
    filled = np.cumsum(kept_per_row)
    available = int(filled[-1]) if len(filled) else 0
    if available < n_tokens:
        raise InputError(
            f"The {split} split has {available} tokens and activations.tokens asks for {n_tokens}:"
            f" ask for at most {available}, or make the corpus larger."
        )
    return int(np.searchsorted(filled, n_tokens)) + 1
