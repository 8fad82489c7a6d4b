"""How far apart the residual streams of two layers are: angular distance and linear CKA."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clustersae.activations.blocks import check_finite, flagged
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing
from clustersae.runtime.tensors import load_tensors, save_tensors

#: The distances that `layer_distances` computes, by their name in files and in the config.
NAMES = ("angular", "angular_centred", "cka")


@dataclass(frozen=True)
class LayerDistances:
    """Distances between all pairs of layers, float64 `[n_layers, n_layers]`.

    Every matrix is exactly symmetric with an exactly zero diagonal.

    Attributes:
        angular: mean angle between a token's activations at the two layers, in half turns: 0 is
            the same direction, 1/2 orthogonal, 1 opposite.
        angular_centred: the same after subtracting each layer's mean activation.
        cka: 1 − linear CKA.
        n_tokens: number of tokens averaged over.
    """

    angular: Tensor
    angular_centred: Tensor
    cka: Tensor
    n_tokens: int


class AngularDistance:
    """Mean over tokens of arccos(cos(x_i, x_j)) / π (Gromov et al. 2024), streamed.

    The cosine comes from float64 unit vectors and is clamped to [−1, 1]. Kahan's
    2·atan2(‖u − v‖, ‖u + v‖) is exact for small angles too, but costs a difference of vectors for
    every pair of layers and token, where cosines are one batched matrix product. It is not needed:
    arccos of a float64 cosine is off by at most about 2e-8 rad, less than the 6e-8 that rounding
    the activations to float32 has already moved them. (In float32 it would be off by 3e-4.)

    A zero vector has no direction; its angle to every other vector counts as 1/2.
    """

    def __init__(self) -> None:
        self.n_tokens = 0
        self._sum = torch.zeros(())  # [n_layers, n_layers], half turns

    def add_batch(self, block: Tensor) -> None:
        """Add a float64 block `[n_layers, rows, d_model]`."""
        norms = block.norm(dim=-1, keepdim=True)
        units = (block / norms.where(norms > 0, 1.0)).transpose(0, 1)  # [rows, n_layers, d_model]
        cosines = (units @ units.transpose(1, 2)).clamp(-1.0, 1.0)
        self._sum = self._sum + cosines.arccos().sum(0) / math.pi
        self.n_tokens += block.shape[1]

    def compute(self) -> Tensor:
        """`[n_layers, n_layers]`, in half turns."""
        if self.n_tokens == 0:
            raise InputError("There are no activations to measure distances on.")
        return _symmetric(self._sum / self.n_tokens)


class LinearCKA:
    """Linear centred kernel alignment (Kornblith et al. 2019) as a distance, streamed.

    CKA is HSIC(i, j) / √(HSIC(i, i)·HSIC(j, j)). Each block is one minibatch: HSIC is averaged
    over blocks (Nguyen et al. 2021), weighted by their rows, with the unbiased estimator HSIC_1
    (Song et al. 2012), so that the result does not drift with the size of the blocks as the biased
    estimator does. HSIC_1 of two kernels is the inner product of their U-centred Gram matrices
    over n(n − 3) (Székely & Rizzo 2014). By Cauchy–Schwarz CKA is then at most 1; for unrelated
    layers it may fall slightly below 0, and the distance rise above 1.

    Args:
        layers: as of `layer_distances`.
    """

    #: HSIC_1 is undefined on fewer rows.
    MIN_ROWS = 4

    def __init__(self, layers: Sequence[int] | None = None) -> None:
        self.layers, self.n_tokens = layers, 0
        self._sum = torch.zeros(())  # [n_layers, n_layers], HSIC_1 times rows

    def add_batch(self, block: Tensor) -> None:
        """Add a float64 block `[n_layers, rows, d_model]`; too small a block is left out."""
        rows = block.shape[1]
        if rows < self.MIN_ROWS:
            return
        grams = _u_centre(block @ block.transpose(1, 2)).flatten(1)  # [n_layers, rows · rows]
        self._sum = self._sum + (grams @ grams.T) / (rows - 3)  # HSIC_1 · rows
        self.n_tokens += rows

    def compute(self) -> Tensor:
        """1 − CKA, `[n_layers, n_layers]`."""
        if self.n_tokens == 0:
            raise InputError(f"Linear CKA needs at least {self.MIN_ROWS} tokens in a shard.")
        own = self._sum.diagonal()
        dead = own <= 0
        if dead.any():
            raise InputError(
                f"Linear CKA is undefined: layer {flagged(dead, self.layers)} is the same for every"
                " token."
            )
        return _symmetric((1.0 - self._sum / (own[:, None] * own).sqrt()).clamp(min=0.0))


def _u_centre(grams: Tensor) -> Tensor:
    """U-centred Gram matrices `[n_layers, n, n]`: off-diagonal rows sum to 0, zero diagonal."""
    n = grams.shape[-1]
    grams.diagonal(dim1=1, dim2=2).zero_()
    sums = grams.sum(-1) / (n - 2)  # [n_layers, n]
    total = sums.sum(-1)[:, None, None] / (n - 1)
    centred = grams - sums[:, :, None] - sums[:, None, :] + total
    centred.diagonal(dim1=1, dim2=2).zero_()
    return centred


def _symmetric(matrix: Tensor) -> Tensor:
    """The upper triangle, mirrored, with a zero diagonal: matrix products round asymmetrically."""
    upper = matrix.triu(1)
    return upper + upper.T


def layer_distances(
    blocks: Iterable[Tensor], mean: Tensor, layers: Sequence[int] | None = None
) -> LayerDistances:
    """All distances between layers, in one pass over `blocks [n_layers, rows, d_model]`.

    Args:
        blocks: rows aligned over the layers, as `activations.blocks.read_blocks` gives them.
        mean: `[n_layers, d_model]` float64, the mean activations (`Statistics.mean`). The work is
            done on its device.
        layers: the studied layers, as indices in the model, which errors name; None for the first.

    Raises:
        InputError: a layer contains NaN or infinity, or there are too few tokens.
    """
    angular, angular_centred, cka = AngularDistance(), AngularDistance(), LinearCKA(layers)
    for block in blocks:
        rows = block.to(mean.device, torch.float64)
        check_finite(rows.sum((1, 2)), layers)
        centred = rows - mean[:, None, :]
        angular.add_batch(rows)
        angular_centred.add_batch(centred)
        # CKA ignores shifts; the centred rows only keep its sums small.
        cka.add_batch(centred)
    return LayerDistances(
        angular.compute(), angular_centred.compute(), cka.compute(), angular.n_tokens
    )


def save_distances(
    tensors: str | Path,
    table: str | Path,
    distances: LayerDistances,
    fingerprint: str,
    layers: Sequence[int],
) -> None:
    """Write the matrices as safetensors and as a long CSV: distance, layer_i, layer_j, value.

    Args:
        layers: the studied layers, as indices in the model.
    """
    matrices = {name: getattr(distances, name).cpu() for name in NAMES}
    with replacing(table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["distance", "layer_i", "layer_j", "value"])
        for name, matrix in matrices.items():
            for i, row in zip(layers, matrix.tolist(), strict=True):
                writer.writerows([name, i, j, value] for j, value in zip(layers, row))
    metadata = {
        "n_tokens": str(distances.n_tokens),
        "fingerprint": fingerprint,
        "layers": json.dumps(list(layers)),
    }
    save_tensors(tensors, matrices, metadata)


def load_distance(path: str | Path, name: str) -> tuple[np.ndarray, list[int]]:
    """One distance matrix `[n_layers, n_layers]`, by its name, and the layers that it is of.

    Raises:
        InputError: there is no such distance, or the file lacks it.
    """
    if name not in NAMES:
        raise InputError(f"{name!r} is not a distance between layers: use {', '.join(NAMES)}.")
    tensors, metadata = load_tensors(path)
    if name not in tensors:
        raise InputError(f"{path} holds no distance {name!r}. Delete it and run again.")
    return tensors[name].numpy(), json.loads(metadata["layers"])
