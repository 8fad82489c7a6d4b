"""Run the model over the subject tokens once and keep the residual stream of every layer."""

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.activations.shards import DTYPES, permutation, write_shard
from clustersae.corpora.tokens import read_tokens, rows_holding, shard_rows
from clustersae.models.description import ModelDescription, read_description
from clustersae.models.residual import ResidualStream, load_model
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.runtime.meter import Meter

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CachingSettings:
    """How activations are computed and stored."""

    dtype: str = "float32"
    """Data type on disk: float32, float16 or bfloat16. The model itself runs in float32."""
    batch_rows: int = 32
    """Rows of the token file that go through the model at once."""
    seed: int = 0
    """Shuffles the rows of each shard."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"activations.dtype is {self.dtype!r}; allowed: {', '.join(DTYPES)}.")
        if self.batch_rows < 1:
            raise InputError(f"activations.batch_rows is {self.batch_rows}; it must be at least 1.")


def cache_shard(
    model_dir: Path,
    tokens: Path,
    split: str,
    shard: int,
    n_shards: int,
    n_tokens: int,
    output: Path,
    settings: CachingSettings,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Write shard `shard` of the `n_shards` of a split.

    The rows are the first ones of the token file that hold `n_tokens` tokens to analyse, cut into
    `n_shards` runs. Memory is that of one shard and of one batch in the model.

    Returns:
        What it cost: the record of `meter.Meter`, with `n_tokens` and `flops` (2 per parameter of
        the blocks and token read, which leaves out the attention scores).
    """
    description = read_description(model_dir)
    file = read_tokens(tokens)
    n_rows = rows_holding(file.kept_per_row, n_tokens, split)
    start, stop = shard_rows(file.kept_per_row[:n_rows], n_shards)[shard]
    ids, kept = file.tokens[start:stop], file.kept[start:stop]
    check_readable(ids, description, tokens)

    stream = ResidualStream(load_model(model_dir, description, device), description)
    places = torch.full(kept.shape, -1, dtype=torch.int64)
    places[kept] = permutation(settings.seed, split, shard, int(kept.sum()))
    with Meter(device) as meter:
        layers = collect(stream, ids, places, description.d_model, settings, device, start)
        row, column = kept.nonzero(as_tuple=True)
        write_shard(
            output,
            layers,
            token=_placed(ids[kept], places[kept]),
            position=_placed(column, places[kept]),
            sequence=_placed(row + start, places[kept]),
            fingerprint=description.fingerprint,
            hook=description.hook,
            split=split,
            shard=shard,
            seed=settings.seed,
        )
    n_parameters = sum(parameter.numel() for parameter in stream.blocks.parameters())
    # Tokens that are not kept (BOS, padding inside a batch) go through the model all the same.
    n_read = sum(len(batch.rows) * batch.width for batch in _batches(places, settings.batch_rows))
    return {**meter.record, "n_tokens": len(row), "flops": 2 * n_parameters * n_read}


def check_readable(ids: torch.Tensor, description: ModelDescription, tokens: Path) -> None:
    """Raise InputError unless the model can read the token ids [n_rows, n_ctx]."""
    if ids.shape[1] > description.n_ctx:
        raise InputError(
            f"{tokens} has rows of {ids.shape[1]} tokens, but the model reads at most"
            f" {description.n_ctx}. Lower the corpus's n_ctx."
        )
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < description.vocab_size:
        raise InputError(
            f"{tokens} holds token ids from {int(ids.min())} to {int(ids.max())}, but the model's"
            f" vocabulary has {description.vocab_size} entries. Build the corpus with the model's"
            " own tokenizer."
        )


def collect(
    stream: ResidualStream,
    ids: torch.Tensor,
    places: torch.Tensor,
    d_model: int,
    settings: CachingSettings,
    device: torch.device | str = "cpu",
    first_row: int = 0,
) -> list[torch.Tensor]:
    """The stream after every block for some tokens: one tensor [n_kept, d_model] per layer.

    One forward pass serves all layers, and each layer's output is written straight to its place:
    there is no second copy of the shard.

    Args:
        ids: token ids [n_rows, n_ctx].
        places: int64 [n_rows, n_ctx]: the row of the result that each token gets (together a
            permutation of 0..n_kept-1), and −1 for tokens that are not kept.
        first_row: number of the first row in its token file, for messages.
    """
    n_kept = int((places >= 0).sum())
    dtype = DTYPES[settings.dtype]
    layers = [torch.empty(n_kept, d_model, dtype=dtype) for _ in range(stream.n_layers)]
    progress = Progress("Caching activations", n_kept)
    started = time.monotonic()
    for batch in _batches(places, settings.batch_rows):
        on_device = batch.where.to(device)
        store = functools.partial(_store, layers, batch, on_device, first_row)
        stream.visit(ids[batch.rows, : batch.width].to(device), store)
        progress.update(len(batch.place))
    progress.close()
    seconds = time.monotonic() - started
    logger.info("%d tokens in %.1f s: %.0f tokens/s", n_kept, seconds, n_kept / max(seconds, 1e-9))
    return layers


class _Batch(NamedTuple):
    """Rows that go through the model together, cut to `width` columns."""

    rows: torch.Tensor  # [batch], row numbers
    width: int
    where: torch.Tensor  # [n_kept], kept tokens as indices into the flattened [batch, width]
    place: torch.Tensor  # [n_kept], where each of them goes


def _batches(places: torch.Tensor, batch_rows: int) -> Iterator[_Batch]:
    """Rows of similar length together, each batch cut after its last token of interest.

    Attention is causal: nothing behind that token can reach it.
    """
    columns = torch.arange(1, places.shape[1] + 1)
    lengths = (columns * (places >= 0)).amax(1)
    for rows in lengths.argsort(descending=True, stable=True).split(batch_rows):
        width = int(lengths[rows].max())
        place = places[rows, :width].flatten()
        where = (place >= 0).nonzero().squeeze(1)
        if len(where):
            yield _Batch(rows, width, where, place[where])


def _store(
    layers: list[torch.Tensor],
    batch: _Batch,
    where: torch.Tensor,
    first_row: int,
    layer: int,
    x: torch.Tensor,
) -> None:
    """Write the kept tokens of one layer's output x [batch, width, d_model] to their places."""
    values = x.flatten(0, 1).index_select(0, where)
    stored = values.to(layers[layer].dtype).cpu()
    # The sum is finite unless an entry is not; only then is that entry looked for.
    if not stored.sum(dtype=torch.float32).isfinite():
        _check_finite(values.cpu(), stored, batch, first_row, layer)
    layers[layer].index_copy_(0, batch.place, stored)


def _check_finite(
    values: torch.Tensor, stored: torch.Tensor, batch: _Batch, first_row: int, layer: int
) -> None:
    """Raise InputError for the first token whose activation is not finite, if there is one."""
    bad = (~stored.isfinite()).any(1).nonzero().flatten()
    if not len(bad):
        return
    index = int(bad[0])
    row, column = divmod(int(batch.where[index]), batch.width)
    place = (
        f"layer {layer} at row {first_row + int(batch.rows[row])}, column {column} of the token"
        " file"
    )
    if values[index].isfinite().all():
        raise InputError(
            f"The activation of {place} reaches {values[index].abs().max():.3g}, more than"
            f" {str(stored.dtype).removeprefix('torch.')} can hold"
            f" ({torch.finfo(stored.dtype).max:g}). Set activations.dtype to bfloat16 or float32."
        )
    raise InputError(
        f"The activation of {place} is NaN or infinite. The model's weights are damaged or"
        " overflow: fetch or train the model again."
    )


def _placed(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`values` [n_kept] moved to their `places`, int32."""
    return torch.empty(len(values), dtype=torch.int32).index_copy_(0, places, values.int())
