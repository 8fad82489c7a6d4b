"""One pass of the model over rows of text: the stream of many tokens, each at its place."""

import functools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from clustersae.activations.mask import within
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.runtime.memory import enough_memory
from clustersae.runtime.words import counted

logger = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """Which tokens of rows [n_rows, n_ctx] are collected."""

    places: torch.Tensor
    """int64 [n_rows, n_ctx]: the row of the result that each token to analyse gets (together a
    permutation of 0..n-1), and −1 for all others."""
    left: torch.Tensor
    """bool [n_rows, n_ctx]: tokens that are not analysed, but remembered."""


class Storage(NamedTuple):
    """How the streams are stored."""

    dtype: torch.dtype
    layers: Sequence[int]  # the studied ones
    centre: torch.Tensor | None = None  # float32 [n_layers, d_model], subtracted before rounding
    limit: Sequence[float] | None = None  # per layer, the norm beyond which a token is flagged
    batch_rows: int = 32


class Collected(NamedTuple):
    """The streams of the wanted tokens."""

    layers: list[torch.Tensor]  # per layer [n, d_model], in the dtype asked for, centred
    scales: list[torch.Tensor]  # per layer float32 [n], of each row; nothing unless that is int8
    left: list[torch.Tensor]  # per layer float32 [n_left, d_model], in the order of `left_at`
    left_at: torch.Tensor  # int64 [n_left, 2], row and column
    inside: torch.Tensor  # bool [n], by place: within the limits at every layer
    # float64 [n_layers], Σ of squares that rounding took or added, of tokens within the limits
    rounding: torch.Tensor


def collect(
    stream: ResidualStream,
    ids: torch.Tensor,
    wanted: Wanted,
    d_model: int,
    storage: Storage,
    device: torch.device | str = "cpu",
    first_row: int = 0,
) -> Collected:
    """The stream after every studied block, for some tokens of the rows `ids` [n_rows, n_ctx].

    One forward pass serves all layers, and each layer's output is written straight to its place:
    there is no second copy of what is analysed.

    Args:
        first_row: number of the first row in its token file, for messages.

    Raises:
        InputError: an activation is not finite, or too large for the dtype.
    """
    n_kept = int((wanted.places >= 0).sum())
    store = _Store(storage, n_kept, d_model)
    progress = Progress("Caching activations", n_kept)
    started = time.monotonic()
    left_at = [torch.zeros(0, 2, dtype=torch.int64)]
    for batch in batches(wanted, storage.batch_rows):
        put = functools.partial(store.put, batch, batch.where.to(device), first_row)
        size = f"a pass of {counted(len(batch.rows), 'row')} of {batch.width} tokens"
        with enough_memory(size, "Lower activations.batch_rows."):
            stream.visit(ids[batch.rows, : batch.width].to(device), put, storage.layers)
        left_at.append(
            torch.stack([batch.rows[batch.left // batch.width], batch.left % batch.width], 1)
        )
        progress.update(len(batch.place))
    progress.close()
    seconds = time.monotonic() - started
    logger.info("%d tokens in %.1f s: %.0f tokens/s", n_kept, seconds, n_kept / max(seconds, 1e-9))
    return store.result(torch.cat(left_at))


class Batch(NamedTuple):
    """Rows that go through the model together, cut to `width` columns."""

    rows: torch.Tensor  # [batch], row numbers
    width: int
    where: torch.Tensor  # [n_kept], tokens to analyse as indices into the flat [batch, width]
    place: torch.Tensor  # [n_kept], where each of them goes
    left: torch.Tensor  # [n_left], remembered tokens as indices into the flat [batch, width]


def batches(wanted: Wanted, batch_rows: int) -> Iterator[Batch]:
    """Rows of similar length together, each batch cut after its last token to analyse.

    Attention is causal: nothing behind that token can reach it.
    """
    places = wanted.places
    columns = torch.arange(1, places.shape[1] + 1)
    lengths = (columns * (places >= 0)).amax(1)
    for rows in lengths.argsort(descending=True, stable=True).split(batch_rows):
        width = int(lengths[rows].max())
        place = places[rows, :width].flatten()
        where = (place >= 0).nonzero().squeeze(1)
        if len(where):
            left = wanted.left[rows, :width].flatten().nonzero().squeeze(1)
            yield Batch(rows, width, where, place[where], left)


class _Store:
    """What is filled while the model runs."""

    def __init__(self, storage: Storage, n_kept: int, d_model: int) -> None:
        self.storage = storage
        self.index = {layer: i for i, layer in enumerate(storage.layers)}
        self.layers = [torch.empty(n_kept, d_model, dtype=storage.dtype) for _ in self.index]
        n_scales = n_kept if storage.dtype == torch.int8 else 0
        self.scales = [torch.empty(n_scales) for _ in self.index if n_scales]
        self.left: list[list[torch.Tensor]] = [[torch.zeros(0, d_model)] for _ in self.index]
        self.outside = torch.zeros(n_kept, dtype=torch.bool)
        n_rounded = 0 if storage.centre is None else n_kept
        self.rounding = torch.zeros(len(self.index), n_rounded, dtype=torch.float64)

    def put(
        self, batch: Batch, where: torch.Tensor, first_row: int, layer: int, x: torch.Tensor
    ) -> None:
        """Write the tokens of one layer's output x [batch, width, d_model] to their places."""
        index, storage = self.index[layer], self.storage
        flat = x.flatten(0, 1)
        values = flat.index_select(0, where)
        if storage.limit is not None:
            self.outside[batch.place] |= ~within(values, storage.limit[index]).cpu()
        if storage.centre is None:
            stored = values.to(storage.dtype).cpu()
        else:
            exact = values.float() - storage.centre[index].to(values.device)
            stored = self._rounded(batch, index, exact)
        # The sum is finite unless an entry is not; only then is that entry looked for.
        if not stored.sum(dtype=torch.float32).isfinite():
            _check_finite(values.cpu(), stored, batch, first_row, layer)
        self.layers[index].index_copy_(0, batch.place, stored)
        if len(batch.left):
            self.left[index].append(flat.index_select(0, batch.left.to(flat.device)).float().cpu())

    def _rounded(self, batch: Batch, index: int, exact: torch.Tensor) -> torch.Tensor:
        """`exact` [n, d_model] in the dtype asked for, on the CPU; what is not finite stays so."""
        if self.storage.dtype != torch.int8:
            rounded = exact.to(self.storage.dtype)
            restored = rounded.float()
        else:
            scale = scale_of_rows(exact)
            if not scale.sum().isfinite():
                return exact.cpu()
            rounded = (exact / scale[:, None]).round().to(torch.int8)
            restored = rounded.float() * scale[:, None]
            self.scales[index].index_copy_(0, batch.place, scale.cpu())
        changed = (exact - restored).double().square().sum(1)
        self.rounding[index].index_copy_(0, batch.place, changed.cpu())
        return rounded.cpu()

    def result(self, left_at: torch.Tensor) -> Collected:
        left = [torch.cat(parts) for parts in self.left]
        if self.storage.centre is not None:
            # Outliers are left out: in int8, a step of one may be as long as another token.
            self.rounding.masked_fill_(self.outside, 0)
        return Collected(
            self.layers, self.scales, left, left_at, ~self.outside, self.rounding.sum(1)
        )


def scale_of_rows(x: torch.Tensor) -> torch.Tensor:
    """What 1 in int8 stands for in each row of x [n, d_model], float32 [n]: the largest is 127."""
    return x.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny * 127) / 127


def _check_finite(
    values: torch.Tensor, stored: torch.Tensor, batch: Batch, first_row: int, layer: int
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
    remedy = (
        f"The model runs in float16, which ends at {torch.finfo(torch.float16).max:g}: write"
        " models.NAME.dtype: bfloat16, or float32."
        if values.dtype == torch.float16
        else "The model's weights are damaged or overflow: fetch or train the model again."
    )
    raise InputError(f"The activation of {place} is NaN or infinite. {remedy}")
