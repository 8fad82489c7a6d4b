"""Token files, and how their rows are shared out."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json
from clustersae.runtime.tensors import load_tensors, save_integers
from clustersae.runtime.words import counted

SPLITS = ("train", "validation", "test")
NAMED_IDS = ("bos_id", "eos_id", "pad_id")

ROWS_AT_ONCE = 1 << 12  # that are compared with special ids


@dataclass(frozen=True)
class Vocabulary:
    """What the ids of a token file mean, without the words."""

    tokenizer: str  # where the tokenizer comes from
    vocab_size: int  # rows of the model's embedding; the tokenizer may have more tokens
    bos_id: int | None
    pad_id: int | None
    eos_id: int | None = None
    special_ids: tuple[int, ...] = ()  # every special token of the tokenizer

    @property
    def excluded_ids(self) -> tuple[int, ...]:
        """Tokens that are never analysed: all special ones, ascending."""
        named = {each for each in (self.bos_id, self.eos_id, self.pad_id) if each is not None}
        return tuple(sorted(named.union(self.special_ids)))


@dataclass(frozen=True)
class TokenFile:
    """The rows of one split of a corpus."""

    # int32 [n_rows, n_ctx], padded on the right with pad_id; uint8 before it is written, where
    # the text is too long to be widened in memory
    tokens: Tensor
    vocabulary: Vocabulary
    source: str
    source_sha256: str
    # bool [n_rows]: rows whose text begins inside a document, though the model was trained on
    # texts that begin where a document does; None where there are no such rows
    inside: Tensor | None = None

    def rows(self, chosen: slice | Tensor) -> "TokenFile":
        """Some rows alone, so that no mask is made of all of a long text."""
        inside = None if self.inside is None else self.inside[chosen]
        return replace(self, tokens=self.tokens[chosen], inside=inside)

    @property
    def kept(self) -> Tensor:
        """Which tokens are analysed, bool [n_rows, n_ctx].

        All but special ones, also where a document spells them out, and the first of each row:
        that is a BOS, or a word with nothing before it, which models treat as one.
        """
        kept = torch.empty(self.tokens.shape, dtype=torch.bool)
        for rows, part in zip(kept.split(ROWS_AT_ONCE), self.tokens.split(ROWS_AT_ONCE)):
            rows.copy_(kept_mask(part, self.vocabulary.excluded_ids))
        kept[:, 0] = False
        return kept

    @property
    def kept_per_row(self) -> np.ndarray:
        """How many tokens of each row are analysed, int64 [n_rows]."""
        # Not of all rows at once, and not by sum(1): torch would hold eight bytes per token.
        counts = [
            np.count_nonzero(kept_mask(part, self.vocabulary.excluded_ids)[:, 1:].numpy(), axis=1)
            for part in self.tokens.split(ROWS_AT_ONCE)
        ]
        return np.concatenate(counts)

    @property
    def scored(self) -> Tensor:
        """At which positions the prediction of the next token counts, bool [n_rows, n_ctx - 1].

        Where the next token is analysed; but not at a BOS that was put in front of a row whose
        text begins inside a document: what comes after it, no model can know.
        """
        scored = self.kept[:, 1:]
        if self.inside is not None and self.vocabulary.bos_id is not None:
            scored[:, 0] &= ~(self.inside & (self.tokens[:, 0] == self.vocabulary.bos_id))
        return scored


def kept_mask(tokens: Tensor, excluded_ids: Collection[int]) -> Tensor:
    """Which of `tokens` (any shape) are none of `excluded_ids`, bool of that shape."""
    largest = torch.iinfo(tokens.dtype).max  # bytes can hold no id above 255
    ids = sorted(each for each in excluded_ids if each <= largest)
    if not ids:
        return torch.ones((), dtype=torch.bool).expand(tokens.shape)  # takes no memory
    return ~torch.isin(tokens, torch.tensor(ids, dtype=tokens.dtype))


def write_tokens(path: str | Path, file: TokenFile) -> None:
    """Write a token file, whole or not at all."""
    vocabulary = file.vocabulary
    metadata = {
        "tokenizer": vocabulary.tokenizer,
        "vocab_size": str(vocabulary.vocab_size),
        "source": file.source,
        "source_sha256": file.source_sha256,
        "special_ids": json.dumps(list(vocabulary.special_ids)),
        **{name: json.dumps(getattr(vocabulary, name)) for name in NAMED_IDS},
    }
    tensors = {"tokens": file.tokens}
    if file.inside is not None:
        tensors["inside"] = file.inside
    save_integers(path, tensors, metadata)


def read_tokens(path: str | Path) -> TokenFile:
    """Read a token file.

    Raises:
        InputError: the file is absent, damaged, of an earlier version, or holds something else.
    """
    tensors, metadata = load_tensors(path)
    try:
        named = {name: parsed_json(metadata[name]) for name in NAMED_IDS}
        vocabulary = Vocabulary(
            tokenizer=metadata["tokenizer"],
            vocab_size=int(metadata["vocab_size"]),
            special_ids=tuple(parsed_json(metadata["special_ids"])),
            **named,
        )
        inside = tensors["inside"].bool() if "inside" in tensors else None
        return TokenFile(
            tensors["tokens"], vocabulary, metadata["source"], metadata["source_sha256"], inside
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a token file of this version ({error}). Delete it and run again."
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
            f"{counted(n_rows, 'row')} cannot be cut into {n_shards} shards: raise"
            " activations.shard_tokens."
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
            f"The {split} split has {counted(available, 'token')} and activations.tokens asks for"
            f" {n_tokens}: ask for at most {available}, or make the corpus larger."
        )
    return int(np.searchsorted(filled, n_tokens)) + 1
