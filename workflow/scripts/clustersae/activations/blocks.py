"""Cached activations as a stream of blocks: the same few rows of every layer at a time."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.runtime.words import counted

#: Rows of one block. Small enough that 24 layers of width 1024 take 100 MB in float64, large
#: enough for the minibatches of linear CKA, which are these blocks (`distances.LinearCKA`).
ROWS_PER_BLOCK = 512

#: Rows of one layer that are encoded at once.
LAYER_BLOCK_ROWS = 8192


class Rows(Protocol):
    """What a block is read from; `activations.shards.Shard` is one."""

    n_rows: int
    layers: tuple[int, ...]
    d_model: int

    def layer(self, layer: int, start: int = 0, stop: int | None = None) -> Tensor: ...


def read_blocks(
    shards: Sequence[Rows],
    rows_per_block: int = ROWS_PER_BLOCK,
    n_rows: int | None = None,
    label: str | None = None,
) -> Iterator[Tensor]:
    """Blocks `[n_layers, rows, d_model]` of the studied layers, rows aligned over the layers.

    Args:
        shards: read one after the other, each from its first row on.
        rows_per_block: at most this many rows in a block. Every shard is cut into blocks of
            nearly equal size, so that no block is a small remainder.
        n_rows: use only this many rows, taken evenly from all shards (in proportion to their
            size). The rows of a shard are shuffled, so its first rows are a random sample.
        label: report progress under this name.
    """
    shapes = {(shard.layers, shard.d_model) for shard in shards}
    if len(shapes) != 1:
        sizes = sorted((len(layers), width) for layers, width in shapes)
        found = ", ".join(f"{counted(n, 'layer')} of width {d}" for n, d in sizes) or "no shard"
        raise InputError(f"The activation shards must come from one model; found {found}.")
    quotas = split_rows([shard.n_rows for shard in shards], n_rows)
    progress = Progress(label or "", sum(quotas), disable=not label)
    for shard, quota in zip(shards, quotas):
        n_blocks = -(-quota // rows_per_block)
        for block in range(n_blocks):
            start, stop = quota * block // n_blocks, quota * (block + 1) // n_blocks
            yield torch.stack([shard.layer(layer, start, stop) for layer in shard.layers])
            progress.update(stop - start)
    progress.close()


def split_rows(sizes: Sequence[int], n_rows: int | None = None) -> list[int]:
    """How many rows to take from shards of these sizes to have `n_rows` (all if None) in total."""
    total = sum(sizes)
    wanted = total if n_rows is None else min(n_rows, total)
    quotas, seen = [], 0
    for size in sizes:
        # Rounding the running total, not each shard's part, makes the parts add up exactly.
        quotas.append(wanted * (seen + size) // total - wanted * seen // total)
        seen += size
    return quotas


def check_finite(sums: Tensor, layers: Sequence[int] | None) -> None:
    """Refuse layers that contain NaN or infinity, told by `sums [n_layers]` over their entries.

    Args:
        layers: as of `flagged`.

    Any float64 sum or norm will do: it carries NaN and infinity along, and float32 values are too
    small to overflow it.
    """
    bad = ~sums.isfinite()
    if bad.any():
        raise InputError(
            f"The activations of layer {flagged(bad, layers)} contain NaN or infinity."
            " Check the model, or cache in a wider format (activations.dtype: bfloat16 or float32)."
        )


def flagged(mask: Tensor, layers: Sequence[int] | None) -> str:
    """The layers where `mask [n_layers]` is true, for a message.

    Args:
        layers: the studied layers, as indices in the model; None for the first ones.
    """
    names = range(len(mask)) if layers is None else layers
    return ", ".join(str(names[place]) for place in torch.nonzero(mask).flatten().tolist())


def layer_blocks(
    shards: Iterable[Rows], layer: int, most_rows: int = LAYER_BLOCK_ROWS
) -> Iterator[Tensor]:
    """The activations of one layer in float32 [n, d_model], at most `most_rows` at a time."""
    for shard in shards:
        for start in range(0, shard.n_rows, most_rows):
            stop = min(start + most_rows, shard.n_rows)
            yield shard.layer(layer, start, stop)


def reading_blocks(shards: Sequence[Rows], layers: Sequence[int]) -> Iterator[tuple[Tensor, ...]]:
    """The same of several layers and the same tokens, [n, d_model] each: as much in all."""
    most_rows = -(-LAYER_BLOCK_ROWS // len(layers))
    return zip(*(layer_blocks(shards, layer, most_rows) for layer in layers), strict=True)
