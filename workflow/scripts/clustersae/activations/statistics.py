"""Mean and scale of every layer's activations, in one pass over the training split."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clustersae.activations.blocks import check_finite, flagged
from clustersae.activations.shards import Shard
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json
from clustersae.runtime.tensors import load_tensors, open_tensors, save_tensors
from clustersae.runtime.words import counted

#: A layer whose scale is below this part of its root mean square is constant: float32 rounds at
#: 6e-8, so anything smaller is the rounding of our own sums.
DEAD_SCALE = 1e-9

#: The metadata entry with the shards that the statistics are of.
_SHARDS = "shards"

#: Least deviation of a dimension, in the layer's scale, that standardisation divides by.
MIN_DEVIATION = 1e-3


@dataclass(frozen=True)
class Statistics:
    """Statistics of the residual stream after each layer, in float64.

    Attributes:
        mean: `[n_layers, d_model]`, the mean activation μ_l.
        scale: `[n_layers]`, σ_l with σ_l² = E‖x − μ_l‖² / d_model, so that (x − μ_l)/σ_l has mean
            square 1 per dimension.
        mean_norm: `[n_layers]`, E‖x‖ of the raw activations.
        count: number of tokens averaged over.
        deviation: `[n_layers, d_model]`, the standard deviation of every dimension; the mean of
            their squares is σ_l².
    """

    mean: Tensor
    scale: Tensor
    mean_norm: Tensor
    count: int
    deviation: Tensor

    def scale_by(self, normalisation: str) -> Tensor:
        """What divides centred activations: `[n_layers]` for `scale`, or `[n_layers, d_model]`.

        Dimensions that hardly vary are not blown up: none is divided by less than a thousandth
        of the layer's scale.
        """
        if normalisation == "scale":
            return self.scale
        return torch.maximum(self.deviation, MIN_DEVIATION * self.scale[:, None])


class RunningStatistics:
    """Accumulates `Statistics` over blocks `[n_layers, rows, d_model]`.

    Each block's mean and sum of squared deviations are merged by the update of Chan, Golub &
    LeVeque (1983), which never subtracts two large sums: residual streams have dimensions whose
    mean is thousands of times their spread, where E[x²] − E[x]² would lose every digit.

    Args:
        layers: as of `compute_statistics`.
    """

    def __init__(self, layers: Sequence[int] | None = None) -> None:
        self.layers, self.count = layers, 0
        self._mean = torch.zeros(())  # [n_layers, d_model]
        self._squares = torch.zeros(())  # [n_layers], sum over tokens of ‖x − mean‖²
        self._norms = torch.zeros(())  # [n_layers], sum over tokens of ‖x‖
        self._by_dimension = torch.zeros(())  # [n_layers, d_model], as _squares

    def add_batch(self, block: Tensor) -> None:
        """Add the rows of one block.

        Raises:
            InputError: the block contains NaN or infinity; the message names the layers.
        """
        rows = block.shape[1]
        if rows == 0:
            return
        parts = [_layer_moments(layer.to(torch.float64)) for layer in block]
        mean, squares, norms, by_dimension = (torch.stack(part) for part in zip(*parts))
        check_finite(norms, self.layers)
        total = self.count + rows
        shift = mean - self._mean
        self._squares = (
            self._squares + squares + shift.square().sum(-1) * (self.count * rows / total)
        )
        self._by_dimension = (
            self._by_dimension + by_dimension + shift.square() * (self.count * rows / total)
        )
        self._mean = self._mean + shift * (rows / total)
        self._norms = self._norms + norms
        self.count = total

    def compute(self) -> Statistics:
        """The statistics of all rows added so far.

        Raises:
            InputError: there are fewer than two rows, or a layer is constant.
        """
        if self.count < 2:
            raise InputError(
                f"The activations hold {counted(self.count, 'token')}, and a spread needs at least"
                " two. Raise activations.tokens.train or give a longer text."
            )
        d_model = self._mean.shape[-1]
        variance = self._squares / (self.count * d_model)
        mean_square = variance + self._mean.square().mean(-1)
        dead = variance <= DEAD_SCALE**2 * mean_square
        if dead.any():
            raise InputError(
                f"The activations of layer {flagged(dead, self.layers)} are the same for every"
                " token, so no SAE can be trained on them. Check that the model's weights were"
                " loaded."
            )
        deviation = (self._by_dimension / self.count).sqrt()
        return Statistics(
            self._mean, variance.sqrt(), self._norms / self.count, self.count, deviation
        )


def _layer_moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of `rows [n_rows, d_model]`: mean `[d_model]`, summed squared deviation, summed norm, and
    summed squared deviation of every dimension `[d_model]`."""
    mean = rows.mean(0)
    squares = (rows - mean).square()
    return mean, squares.sum(), rows.norm(dim=-1).sum(), squares.sum(0)


def compute_statistics(blocks: Iterable[Tensor], layers: Sequence[int] | None = None) -> Statistics:
    """Statistics over all `blocks [n_layers, rows, d_model]`; does not depend on the split.

    Args:
        layers: the studied layers, as indices in the model, which errors name; None for the first.
    """
    running = RunningStatistics(layers)
    for block in blocks:
        running.add_batch(block)
    return running.compute()


def save_statistics(
    path: Path,
    statistics: Statistics,
    fingerprint: str,
    layers: Sequence[int],
    shards: Iterable[Shard] = (),
) -> None:
    """Write `statistics` of the studied `layers`, with the fingerprint of their model.

    Args:
        shards: of which they are. The file names each with its checksums' digest, so that it
            differs where a shard does: a job that reads many shards waits for this file alone.
    """
    save_tensors(
        path,
        {
            "mean": statistics.mean,
            "scale": statistics.scale,
            "mean_norm": statistics.mean_norm,
            "deviation": statistics.deviation,
        },
        {
            "count": str(statistics.count),
            "fingerprint": fingerprint,
            "layers": json.dumps(list(layers)),
            _SHARDS: json.dumps(
                {os.path.relpath(shard.path, path.parent): shard.digest for shard in shards}
            ),
        },
    )


def described_shards(path: Path) -> list[Path]:
    """The shards of which the statistics at `path` are.

    Raises:
        InputError: the file is damaged, or one of the shards is not there.
    """
    shards = [path.parent / name for name in _digests(path)]
    for shard in shards:
        if not shard.is_file():
            raise InputError(
                f"{shard} is not there, and {path} is of it. Run again: it is then made again."
            )
    return shards


def check_described(path: Path, shards: Iterable[Shard]) -> None:
    """Refuse shards that have been changed since the statistics at `path` were taken.

    Raises:
        InputError: naming the shard; or the file is damaged.
    """
    digests = _digests(path)
    for shard in shards:
        if digests.get(os.path.relpath(shard.path, path.parent), shard.digest) != shard.digest:
            raise InputError(
                f"{shard.path} is not what it was when {path} was made of it."
                f" Delete {path} and run again."
            )


def _digests(path: Path) -> dict[str, str]:
    """The shards' names, relative to the file's folder, → their digests."""
    with open_tensors(path) as file:
        metadata = file.metadata() or {}
    try:
        known = parsed_json(metadata.get(_SHARDS, ""))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise InputError(f"{path} does not say which shards it is of. Delete it and run again.")
    return known


def load_statistics(
    path: str | Path, fingerprint: str | None = None, layers: Sequence[int] | None = None
) -> Statistics:
    """Read statistics, of all studied layers or of these.

    Raises:
        InputError: the file is damaged, describes another model than `fingerprint`, or lacks one
            of the `layers`.
    """
    tensors, metadata = load_tensors(path)
    try:
        studied = json.loads(metadata["layers"])
        rows = slice(None) if layers is None else [studied.index(layer) for layer in layers]
        statistics = Statistics(
            tensors["mean"][rows],
            tensors["scale"][rows],
            tensors["mean_norm"][rows],
            int(metadata["count"]),
            tensors["deviation"][rows],
        )
        found = metadata["fingerprint"]
    except KeyError as missing:
        raise InputError(
            f"{path} holds no activation statistics: {missing} is missing. Delete it and run"
            " activation_statistics again."
        ) from None
    except ValueError:
        raise InputError(
            f"{path} describes the layers {metadata['layers']}, not all of"
            f" {list(layers or ())}. Delete it and run activation_statistics again."
        ) from None
    if fingerprint is not None and found != fingerprint:
        raise InputError(
            f"{path} describes the activations of model {found[:12]}, not {fingerprint[:12]}."
            " Delete it and run activation_statistics again."
        )
    return statistics
