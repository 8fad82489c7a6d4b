"""Which tokens a language model sees at which step: rows in turn, or sequences from anywhere.

Both are pure functions of the seed and the step, so a training that was interrupted reads on
where it was. The text lies on the model's device; what is drawn on the CPU are numbers of rows
and offsets, many steps at a time, so that the same seed reads the same text on every device.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from clustersae.runtime.device import upload
from clustersae.runtime.errors import InputError

STEPS_AT_ONCE = 256  # drawn together and handed to the device in one piece

#: What random numbers are for; they must not be the same for two things.
TRAINING, EVALUATION = 0, 1


def batch_indices(n_rows: int, batch_rows: int, seed: int) -> Iterator[Tensor]:
    """Row indices [batch_rows] of one batch after another, in a new order every epoch.

    Every row is used once before any row is used again; a batch may span two epochs.
    """
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_rows:
            waiting = torch.cat([waiting, torch.randperm(n_rows, generator=generator)])
        yield waiting[:batch_rows]
        waiting = waiting[batch_rows:]


class Source(Protocol):
    """Text to train on or to evaluate on."""

    tokens: Tensor  # the rows it was made from, [n_rows, n_ctx]

    def training(self, batch_rows: int, seed: int, first_step: int) -> Iterator[Tensor]:
        """The batches [batch_rows, n_tokens] of step `first_step` and all later ones."""

    def sample(self, n_batches: int, batch_rows: int, key: tuple[int, ...]) -> Iterator[Tensor]:
        """Random batches [batch_rows, n_tokens], the same for the same key."""


class Rows:
    """Whole rows of a corpus: int [n_rows, n_ctx], padded on the right."""

    def __init__(self, tokens: Tensor, device: torch.device) -> None:
        self.tokens = tokens.to(device)

    def training(self, batch_rows: int, seed: int, first_step: int) -> Iterator[Tensor]:
        every = batch_indices(len(self.tokens), batch_rows, seed)
        for indices in islice(every, first_step, None):
            yield self.tokens[upload(indices, self.tokens.device)]

    def sample(self, n_batches: int, batch_rows: int, key: tuple[int, ...]) -> Iterator[Tensor]:
        indices = _draw(len(self.tokens), (n_batches, batch_rows), key)
        for some in upload(indices, self.tokens.device):
            yield self.tokens[some]


class Stream:
    """The rows laid end to end, read from any token on.

    A sequence has one token more than the model's context: as many to read as there are to
    predict. Where rows begin with BOS, so does every sequence, and the stream is without.

    Args:
        tokens: int [n_rows, n_ctx] without padding.
        bos_id: of the corpus, if it has one.

    Raises:
        InputError: there are fewer tokens than a sequence has.
    """

    def __init__(self, tokens: Tensor, bos_id: int | None, device: torch.device) -> None:
        self.tokens = tokens
        begins = bos_id is not None and bool((tokens[:, 0] == bos_id).all())
        stream = (tokens[:, 1:] if begins else tokens).flatten()
        self.bos = tokens[:1, :1].to(device) if begins else None
        width = tokens.shape[1] + 1 - begins
        if len(stream) < width:
            raise InputError(
                f"training.sampling offsets needs {width} tokens in each split, and one has"
                f" {len(stream)}: give more text, or larger corpus.fractions."
            )
        self.sequences = stream.to(device).unfold(0, width, 1)  # a view: [n_offsets, width]

    def _at(self, offsets: Tensor) -> Tensor:
        found = self.sequences[offsets]
        if self.bos is None:
            return found
        return torch.cat([self.bos.expand(len(found), 1), found], dim=1)

    def training(self, batch_rows: int, seed: int, first_step: int) -> Iterator[Tensor]:
        block, skipped = divmod(first_step, STEPS_AT_ONCE)
        while True:
            shape = (STEPS_AT_ONCE, batch_rows)
            offsets = _draw(len(self.sequences), shape, (seed, TRAINING, block))
            for some in upload(offsets, self.sequences.device)[skipped:]:
                yield self._at(some)
            block, skipped = block + 1, 0

    def sample(self, n_batches: int, batch_rows: int, key: tuple[int, ...]) -> Iterator[Tensor]:
        offsets = _draw(len(self.sequences), (n_batches, batch_rows), key)
        for some in upload(offsets, self.sequences.device):
            yield self._at(some)


def _draw(n: int, shape: tuple[int, int], key: tuple[int, ...]) -> Tensor:
    """Integers below `n`, int64 of `shape`, from the seed `key`."""
    return torch.from_numpy(np.random.default_rng(key).integers(0, n, shape))


def source(
    tokens: Tensor, sampling: str, bos_id: int | None, pad_id: int | None, device: torch.device
) -> Source:
    """The text of `tokens` [n_rows, n_ctx], to be read as `training.sampling` says.

    Raises:
        InputError: rows are padded, so that there is no stream to cut sequences from.
    """
    if sampling == "rows":
        return Rows(tokens, device)
    if pad_id is not None:
        raise InputError(
            "training.sampling offsets reads text as one stream, and the rows of this corpus are"
            " padded: write rows."
        )
    return Stream(tokens, bos_id, device)
