"""The tokens that latents are asked about: whole rows of a token file, in reading order.

The rows of a shard are shuffled, so its first ones are single tokens out of everything. A passage
needs the activations of all its tokens, so whole sequences are drawn at random instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clustersae.activations.blocks import LAYER_BLOCK_ROWS
from clustersae.activations.shards import Shard
from clustersae.corpora.tokens import TokenFile
from clustersae.latents.code import Code, encode_tokens
from clustersae.runtime.errors import InputError
from clustersae.sae.module import SparseAutoencoder

#: Stands for the predecessor of a token that begins its row.
NOTHING = -1


@dataclass(frozen=True)
class Text:
    """Analysed tokens in reading order: ascending by (sequence, position)."""

    token: np.ndarray  # int64 [n_tokens], ids
    previous: np.ndarray  # int64 [n_tokens], id before it (BOS counts), NOTHING at a row's start
    sequence: np.ndarray  # int64 [n_tokens], row in the token file
    position: np.ndarray  # int64 [n_tokens], column in the token file
    shards: Sequence[Shard]
    rows: Sequence[torch.Tensor]  # of every shard, the rows that hold these tokens, in this order

    @property
    def fingerprint(self) -> str:
        """Of the model that the activations are from."""
        return self.shards[0].metadata["fingerprint"]

    def __len__(self) -> int:
        return len(self.token)

    def every(self, step: int) -> "Text":
        """One token in `step`, evenly spread; each keeps what preceded it."""
        return self.where(np.arange(len(self)) % step == 0)

    def where(self, chosen: np.ndarray) -> "Text":
        """The tokens that are `chosen`, bool [n_tokens]; each keeps what preceded it."""
        ends = np.cumsum([len(rows) for rows in self.rows])[:-1]
        rows = [rows[torch.from_numpy(own)] for rows, own in zip(self.rows, np.split(chosen, ends))]
        return Text(
            self.token[chosen],
            self.previous[chosen],
            self.sequence[chosen],
            self.position[chosen],
            self.shards,
            rows,
        )

    def blocks(self, layer: int) -> Iterator[torch.Tensor]:
        """The stream at `layer`, float32 [n, d_model] at a time."""
        for shard, rows in zip(self.shards, self.rows):
            for some in rows.split(LAYER_BLOCK_ROWS):
                yield shard.rows(layer, some)

    def encode(self, sae: SparseAutoencoder, layer: int) -> Code:
        """The code of these tokens, in float32, which is what SAEs compute in."""
        code = encode_tokens(sae, layer, self.blocks(layer))
        return code._replace(activations=code.activations.astype(np.float32))


def read_text(shards: Sequence[Shard], file: TokenFile, n_tokens: int, seed: int) -> Text:
    """Whole sequences, drawn at random until they hold `n_tokens` tokens, or all there are.

    The draw is a function of the shards and `seed`, so that all arms read the same text.

    Args:
        shards: of one split, ordered by their index (and so by sequence).
        file: the token file of the split, which knows what precedes a token.

    Raises:
        InputError: the shards were not made from this token file.
    """
    columns = [
        tuple(
            column.numpy().astype(np.int64)
            for column in (shard.sequences(), shard.positions(), shard.tokens())
        )
        for shard in shards
    ]
    sizes = np.bincount(np.concatenate([sequence for sequence, _, _ in columns]))
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(sizes))
    n_drawn = np.searchsorted(np.cumsum(sizes[drawn]), n_tokens) + 1
    wanted = np.zeros(len(sizes), dtype=bool)
    wanted[drawn[:n_drawn]] = True

    rows, parts = [], []
    for sequence, position, token in columns:
        own = np.flatnonzero(wanted[sequence])
        own = own[np.lexsort((position[own], sequence[own]))]
        rows.append(torch.from_numpy(own))
        parts.append((sequence[own], position[own], token[own]))
    sequence, position, token = (np.concatenate(each) for each in zip(*parts))

    ids = file.tokens.numpy()
    inside = sequence.max() < len(ids) and position.max() < ids.shape[1]
    if not inside or (ids[sequence, position] != token).any():
        path, split = shards[0].path, shards[0].metadata["split"]
        raise InputError(
            f"{path} was not made from this token file of the {split} split: delete it and run"
            " again."
        )
    previous = np.where(position > 0, ids[sequence, position - 1], NOTHING).astype(np.int64)
    return Text(token, previous, sequence, position, shards, rows)
