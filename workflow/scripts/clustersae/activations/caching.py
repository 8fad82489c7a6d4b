"""Run the model over the subject tokens once and keep the residual stream of the studied layers."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clustersae.activations.collecting import Storage, Wanted, batches, collect
from clustersae.activations.mask import (
    SAMPLE_TOKENS,
    NormLimits,
    Reason,
    load_limits,
    settle_limits,
)
from clustersae.activations.shards import DTYPES, LeftOut, permutation, write_shard
from clustersae.corpora.tokens import TokenFile, read_tokens, rows_holding, shard_rows
from clustersae.experiment.flops import forward_flops
from clustersae.experiment.layers import studied_layers
from clustersae.models.description import ModelDescription, read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError
from clustersae.runtime.meter import Meter


@dataclasses.dataclass(frozen=True)
class CachingSettings:
    """How activations are computed and stored."""

    dtype: str = "float32"
    """Data type on disk: float32, float16, bfloat16 or int8. The narrow ones hold the difference to
    a constant of the layer: dimensions of a large mean would lose their spread to rounding."""
    batch_rows: int = 32
    """Rows of the token file that go through the model at once."""
    seed: int = 0
    """Shuffles the rows of each shard."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"activations.dtype is {self.dtype!r}; allowed: {', '.join(DTYPES)}.")
        if self.batch_rows < 1:
            raise InputError(f"activations.batch_rows is {self.batch_rows}; it must be at least 1.")


def measure_limits(
    model_dir: Path,
    tokens: Path,
    layers: str | Sequence[int] | Mapping[str, int],
    multiple: float | None,
    batch_rows: int,
    device: torch.device | str = "cpu",
) -> NormLimits:
    """The limits of the norm, from SAMPLE_TOKENS tokens of rows evenly spread over a token file.

    Args:
        layers: `activations.layers`; multiple: `activations.max_norm_multiple`.

    Raises:
        InputError: there is no such layer, or nothing that could be measured.
    """
    description = read_description(model_dir)
    studied = studied_layers(layers, description.n_layers)
    file = read_tokens(tokens)
    per_row = max(1.0, float(file.kept_per_row.mean()))
    n_rows = min(len(file.tokens), math.ceil(SAMPLE_TOKENS / per_row))
    sample = file.rows(spread(n_rows, len(file.tokens)))
    ids, kept = sample.tokens, sample.kept
    check_readable(ids, description, tokens)
    places = torch.full(kept.shape, -1, dtype=torch.int64)
    places[kept] = torch.arange(int(kept.sum()))
    stream = ResidualStream(load_model(model_dir, description, device), description)
    wanted = Wanted(places, torch.zeros_like(kept))
    storage = Storage(torch.float32, studied, batch_rows=batch_rows)
    streams = collect(stream, ids, wanted, description.d_model, storage, device).layers

    def mean_of(inside: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[inside].double().mean(0).float() for x in streams])

    norms = torch.stack([x.norm(dim=1) for x in streams])
    return settle_limits(norms, mean_of, studied, multiple, description.fingerprint)


def spread(n: int, n_rows: int) -> torch.Tensor:
    """The numbers of `n` rows evenly spread over `n_rows`, int64 [n]."""
    # In float32, where the last of 16,777,220 rows is rounded up to one that is not there.
    return torch.linspace(0, n_rows - 1, n).round().long().clamp(max=n_rows - 1)


def cache_shard(
    model_dir: Path,
    tokens: Path,
    limits: Path,
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
    `n_shards` runs; as many rows more as the sample behind `limits` expects tokens to be left out
    for their norm. Memory is that of one shard and of one batch in the model.

    Args:
        limits: of `measure_limits`; they name the studied layers, too.

    Returns:
        What it cost: the record of `meter.Meter`, with `n_tokens` and `flops`: those of the blocks
        up to the last studied one, which are all that run.
    """
    description = read_description(model_dir)
    norms = load_limits(limits, description.fingerprint)
    file = read_tokens(tokens)
    kept_per_row = file.kept_per_row
    n_rows = rows_to_read(kept_per_row, n_tokens, split, norms.share_kept)
    start, stop = shard_rows(kept_per_row[:n_rows], n_shards)[shard]
    own_rows = file.rows(slice(start, stop))
    ids, kept = own_rows.tokens, own_rows.kept
    check_readable(ids, description, tokens)

    stream = ResidualStream(load_model(model_dir, description, device), description)
    places = torch.full(kept.shape, -1, dtype=torch.int64)
    places[kept] = permutation(settings.seed, split, shard, int(kept.sum()))
    wanted = Wanted(places, ~kept & ~_padding(ids, file.vocabulary.pad_id))
    narrow = DTYPES[settings.dtype] != torch.float32
    storage = Storage(
        DTYPES[settings.dtype],
        norms.layers,
        norms.mean if narrow else None,
        None if norms.multiple is None else norms.limit.tolist(),
        settings.batch_rows,
    )
    with Meter(device) as meter:
        found = collect(stream, ids, wanted, description.d_model, storage, device, start)
        row, column = kept.nonzero(as_tuple=True)
        own = torch.stack(
            [_placed(each, places[kept]) for each in (ids[kept], column, row + start)]
        )
        at = found.left_at
        reasons = torch.where(
            torch.isin(
                ids[at[:, 0], at[:, 1]], torch.tensor(file.vocabulary.excluded_ids, dtype=ids.dtype)
            ),
            int(Reason.SPECIAL),
            int(Reason.FIRST),
        )
        left = LeftOut(
            torch.stack([ids[at[:, 0], at[:, 1]], at[:, 1], at[:, 0] + start, reasons]).int(),
            found.left,
        )
        layers, scales = found.layers, found.scales
        if not found.inside.all():
            own, left = _without_outliers(own, layers, scales, left, found.inside, storage.centre)
        write_shard(
            output,
            layers,
            *own,
            fingerprint=description.fingerprint,
            hook=description.hook,
            split=split,
            shard=shard,
            seed=settings.seed,
            studied=norms.layers,
            centre=storage.centre,
            rounding=found.rounding,
            left_out=left,
            mask=mask_of(file, norms),
            scales=scales,
        )
    n_run = max(norms.layers) + 1
    n_weights = stream.n_weights(n_run)
    # Tokens that are not kept (BOS, padding inside a batch) go through the model all the same.
    flops = sum(
        len(batch.rows)
        * batch.width
        * forward_flops(n_weights, n_run, batch.width, description.d_model)
        for batch in batches(wanted, settings.batch_rows)
    )
    return {**meter.record, "n_tokens": own.shape[1], "flops": flops}


def remove_read(folder: Path, window: int) -> None:
    """Remove shards of windows up to `window` that nobody reads any more.

    Snakemake removes them itself, unless it was killed before it could.

    Args:
        folder: of the stream of tokens, with a folder for each window.
    """
    for each in range(1, window + 1):
        for shard in folder.glob(f"{each}/*.safetensors"):
            shard.unlink(missing_ok=True)


def rows_to_read(kept_per_row: np.ndarray, n_tokens: int, split: str, share_kept: float) -> int:
    """How many of the first rows hold `n_tokens` tokens of which about `share_kept` stay.

    Args:
        kept_per_row: [n_rows], see `TokenFile.kept_per_row`.

    Raises:
        InputError: the split has fewer than `n_tokens`.
    """
    rows_holding(kept_per_row, n_tokens, split)
    wanted = min(int(kept_per_row.sum()), math.ceil(n_tokens / share_kept))
    return rows_holding(kept_per_row, wanted, split)


def mask_of(file: TokenFile, limits: NormLimits) -> dict[str, Any]:
    """Which tokens are left out, in words that cfg.json of an SAE passes on."""
    return {
        "special_ids": list(file.vocabulary.excluded_ids),
        "first_without_bos": True,
        **limits.described(),
    }


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


def _without_outliers(
    own: torch.Tensor,
    layers: list[torch.Tensor],
    scales: list[torch.Tensor],
    left: LeftOut,
    inside: torch.Tensor,
    centre: torch.Tensor | None,
) -> tuple[torch.Tensor, LeftOut]:
    """Move the tokens outside the limits to those that are left out; lists change in place."""
    kept, out = inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)
    reasons = torch.full((1, len(out)), int(Reason.NORM), dtype=torch.int32)
    tokens = torch.cat([left.tokens, torch.cat([own[:, out], reasons])], 1)
    streams = []
    for index, x in enumerate(layers):
        large = x[out].float()
        if scales:
            large *= scales[index][out][:, None]
            scales[index] = scales[index][kept]
        if centre is not None:
            large += centre[index]
        streams.append(torch.cat([left.layers[index], large]))
        layers[index] = x[kept]  # one layer at a time, so that no two shards are held
    return own[:, kept], LeftOut(tokens, streams)


def _padding(ids: torch.Tensor, pad_id: int | None) -> torch.Tensor:
    """Which of ids [n_rows, n_ctx] are padding: the run of pad_id at a row's end."""
    if pad_id is None:
        return torch.zeros(ids.shape, dtype=torch.bool)
    return (ids == pad_id).flip(1).cumprod(1).flip(1).bool()


def _placed(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`values` [n_kept] moved to their `places`, int32."""
    return torch.empty(len(values), dtype=torch.int32).index_copy_(0, places, values.int())
