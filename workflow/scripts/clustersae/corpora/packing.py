"""From a stream of documents to full rows of tokens, split by position."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clustersae.corpora.tokenizer import LoadedTokenizer, encode_documents
from clustersae.corpora.tokens import SPLITS
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.runtime.words import counted


@dataclass
class Digest:
    """SHA-256 and length of the text that passes through; `progress` counts its bytes."""

    n_characters: int = 0
    progress: Progress | None = None
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def watch_ids(self, runs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same of token ids, in bytes of little-endian int32."""
        for ids in runs:
            encoded = ids.astype("<i4").tobytes()
            self._sha256.update(encoded)
            if self.progress is not None:
                self.progress.update(len(encoded))
            yield ids

    def watch(self, documents: Iterable[str]) -> Iterator[str]:
        for document in documents:
            encoded = document.encode()
            self._sha256.update(encoded)
            if self.progress is not None:
                self.progress.update(len(encoded))
            self.n_characters += len(document)
            yield document

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


class Layout(StrEnum):
    """Where rows have a BOS, and what stands between documents."""

    ROW = "row"  # a BOS in front of every row and between documents
    DOCUMENT = "document"  # a BOS before every document, none where a row begins inside one
    NONE = "none"  # no BOS; an end-of-text token between documents, where there is one


class Rows(NamedTuple):
    """Text in full rows."""

    tokens: Tensor  # int32 [n_rows, n_ctx]
    inside: Tensor  # bool [n_rows], those whose text begins inside a document
    n_documents: int


def pack(
    loaded: LoadedTokenizer,
    documents: Iterable[str],
    n_ctx: int,
    layout: Layout = Layout.ROW,
    max_tokens: int | None = None,
    shuffle: int | None = None,
) -> Rows:
    """Tokenise documents and lay them end to end in rows.

    A document may run over several rows. Nothing is lost but the tail that does not fill a row.
    In memory are four bytes per token, and twice that while they are laid out.

    Args:
        documents: or pieces of them, as `Continued` says.
        max_tokens: stop reading once there are so many tokens of text.
        shuffle: seed of the order of the documents that were read; None leaves it.

    Raises:
        InputError: there is not enough text for one row, or a token that the model lacks.
    """
    parts = _tokens(loaded, documents, max_tokens)
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(parts))
        parts = [parts[index] for index in order]
    vocabulary = loaded.vocabulary
    mark = vocabulary.eos_id if layout is Layout.NONE else vocabulary.bos_id
    stream, starts = _laid_out(parts, mark, in_front=layout is Layout.DOCUMENT)
    with_bos = layout is Layout.ROW and vocabulary.bos_id is not None
    width = n_ctx - with_bos
    n_rows = len(stream) // width
    if n_rows == 0:
        raise InputError(
            f"The text has {counted(len(stream), 'token')}, fewer than a row of n_ctx {n_ctx}: give"
            " more text or a smaller n_ctx."
        )
    inside = ~np.isin(np.arange(n_rows) * width, starts)
    rows = stream[: n_rows * width].reshape(n_rows, width)
    if with_bos:
        front = np.full((n_rows, 1), vocabulary.bos_id, dtype=np.int32)
        rows = np.concatenate([front, rows], axis=1)
    return Rows(torch.from_numpy(rows), torch.from_numpy(inside), len(parts))


def rows_of(
    loaded: LoadedTokenizer,
    tokens: Iterable[np.ndarray],
    n_ctx: int,
    max_tokens: int | None = None,
    shuffle: int | None = None,
) -> Rows:
    """Rows of n_ctx tokens from runs that others have tokenised; what fills none is left out.

    Args:
        tokens: int32 [n_tokens] each.
        max_tokens: stop reading once there are so many.
        shuffle: seed of the order of the runs that were read; None leaves it.

    Raises:
        InputError: no run is as long as a row, or a token that the model lacks.
    """
    runs: list[np.ndarray] = []
    n_tokens, longest = 0, 0
    for ids in tokens:
        longest = max(longest, len(ids))
        rows = ids[: len(ids) // n_ctx * n_ctx].reshape(-1, n_ctx)
        if max_tokens is not None:
            rows = rows[: -(-(max_tokens - n_tokens) // n_ctx)]
        if len(rows):
            _check_known(loaded, int(rows.max()))
            if rows.min() < 0:
                raise InputError(f"The dataset has the token id {int(rows.min())}; ids begin at 0.")
            runs.append(rows)
            n_tokens += rows.size
        if max_tokens is not None and n_tokens >= max_tokens:
            break
    if not runs:
        raise InputError(
            f"The dataset has runs of at most {counted(longest, 'token')}, fewer than a row of"
            f" n_ctx {n_ctx}: lower corpus.n_ctx."
        )
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(runs))
        runs = [runs[index] for index in order]
    packed = torch.from_numpy(np.concatenate(runs))
    return Rows(packed, torch.ones(len(packed), dtype=torch.bool), len(runs))


def _tokens(
    loaded: LoadedTokenizer, pieces: Iterable[str], max_tokens: int | None
) -> list[list[np.ndarray]]:
    """The tokens of each document, in the pieces that it came in."""
    documents: list[list[np.ndarray]] = []
    n_tokens = 0
    for ids, begins in encode_documents(loaded.tokenizer, pieces):
        if max_tokens is not None:
            ids = ids[: max_tokens - n_tokens]
        if len(ids):
            _check_known(loaded, int(ids.max()))
            if begins or not documents:
                documents.append([])
            documents[-1].append(ids)
            n_tokens += len(ids)
        if max_tokens is not None and n_tokens >= max_tokens:
            break
    return documents


def _check_known(loaded: LoadedTokenizer, largest: int) -> None:
    if largest >= loaded.vocabulary.vocab_size:
        name = loaded.tokenizer.id_to_token(largest) or "unknown"
        raise InputError(
            f"The text has the token {name!r} ({largest}), but the model of"
            f" {loaded.vocabulary.tokenizer} embeds only {loaded.vocabulary.vocab_size}: take it"
            " out of the text, or put the model's own tokenizer.json beside it."
        )


def _laid_out(
    documents: list[list[np.ndarray]], mark: int | None, in_front: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Documents end to end, int32 [n], and the places where one, or its mark, begins.

    Empties `documents` of their tokens, which would else be in memory twice.

    Args:
        mark: what stands between documents, if anything.
        in_front: it stands before the first one too.
    """
    n_marks = 0 if mark is None else len(documents) - (not in_front)
    stream = np.empty(sum(map(len, chain(*documents))) + max(0, n_marks), dtype=np.int32)
    starts, end = [], 0
    for index, pieces in enumerate(documents):
        if mark is not None and (index or in_front):
            starts.append(end)
            stream[end] = mark
            end += 1
        starts.append(end)
        for ids in pieces:
            stream[end : end + len(ids)] = ids
            end += len(ids)
        pieces.clear()
    return stream, np.array(starts)


def split_rows(rows: Tensor, validation: float, test: float) -> dict[str, Tensor]:
    """Cut rows by position: training first, then the given fractions for validation and test.

    Raises:
        InputError: a split would have no row.
    """
    n_validation, n_test = round(len(rows) * validation), round(len(rows) * test)
    n_rows = (len(rows) - n_validation - n_test, n_validation, n_test)
    if min(n_rows) < 1:
        raise InputError(
            f"{counted(len(rows), 'row')} cannot be split into {n_rows[0]} for training,"
            f" {n_rows[1]} for validation and {n_rows[2]} for test: each needs one. Give more"
            " text, a smaller n_ctx or other corpus.fractions."
        )
    return dict(zip(SPLITS, rows.split(n_rows)))
