"""From a stream of documents to full rows of tokens, split by position in the stream."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from clustersae.corpora.tokenizer import LoadedTokenizer, encode_documents
from clustersae.corpora.tokens import SPLITS
from clustersae.runtime.errors import InputError


@dataclass
class Digest:
    """SHA-256 and length of the text that passes through."""

    n_characters: int = 0
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def watch(self, documents: Iterable[str]) -> Iterator[str]:
        for document in documents:
            self._sha256.update(document.encode())
            self.n_characters += len(document)
            yield document

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def pack(
    loaded: LoadedTokenizer,
    documents: Iterable[str],
    n_ctx: int,
    max_tokens: int | None = None,
    separate: bool = True,
) -> Tensor:
    """Tokenise documents and lay them end to end in rows: int32 [n_rows, n_ctx].

    Every row starts with BOS, unless the tokenizer has none. A document may run over several
    rows. Nothing is lost but the tail that does not fill a row.

    Args:
        max_tokens: stop reading once there are so many tokens of text.
        separate: put BOS between documents.

    Raises:
        InputError: there is not enough text for one row.
    """
    bos_id = loaded.vocabulary.bos_id
    bos = np.array([] if bos_id is None else [bos_id], dtype=np.int32)
    parts: list[np.ndarray] = []
    n_tokens = 0
    for ids in encode_documents(loaded.tokenizer, documents):
        parts += [bos, ids] if parts and separate else [ids]
        n_tokens += len(ids)
        if max_tokens is not None and n_tokens >= max_tokens:
            parts[-1] = ids[: len(ids) - (n_tokens - max_tokens)]
            break
    stream = np.concatenate(parts) if parts else np.array([], dtype=np.int32)
    width = n_ctx - len(bos)
    n_rows = len(stream) // width
    if n_rows == 0:
        raise InputError(
            f"The text has {len(stream)} tokens, fewer than a row of n_ctx {n_ctx}: give more text"
            " or a smaller n_ctx."
        )
    rows = stream[: n_rows * width].reshape(n_rows, width)
    starts = np.broadcast_to(bos, (n_rows, len(bos)))
    return torch.from_numpy(np.concatenate([starts, rows], axis=1))


def split_rows(rows: Tensor, validation: float, test: float) -> dict[str, Tensor]:
    """Cut rows by position: training first, then the given fractions for validation and test.

    Raises:
        InputError: a split would have no row.
    """
    n_validation, n_test = round(len(rows) * validation), round(len(rows) * test)
    n_rows = (len(rows) - n_validation - n_test, n_validation, n_test)
    if min(n_rows) < 1:
        raise InputError(
            f"{len(rows)} rows cannot be split into {n_rows[0]} for training, {n_rows[1]} for"
            f" validation and {n_rows[2]} for test: each needs one. Give more text, a smaller"
            " n_ctx or other corpus.fractions."
        )
    return dict(zip(SPLITS, rows.split(n_rows)))
