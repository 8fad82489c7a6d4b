"""Check a distance matrix before anything is clustered by it."""

from collections.abc import Sequence

import numpy as np

from clustersae.runtime.errors import InputError


def check_distances(distances: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    """The matrix `[n_layers, n_layers]` as float64, once it is one of distances.

    Args:
        layers: the studied layers, as indices in the model.

    Raises:
        InputError: it is not square, finite, non-negative and exactly symmetric with a zero
            diagonal. A half-filled matrix would be clustered without complaint, and wrongly.
    """
    matrix = np.asarray(distances, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise InputError(f"Layer distances must form a square matrix, not shape {matrix.shape}.")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InputError("Layer distances must be finite and non-negative.")
    if (matrix != matrix.T).any():
        i, j = np.argwhere(matrix != matrix.T)[0]
        raise InputError(
            f"Layer distances must be symmetric: layers {layers[i]} and {layers[j]} are"
            f" {matrix[i, j]} apart one way and {matrix[j, i]} the other."
        )
    if matrix.diagonal().any():
        raise InputError("The distance of a layer from itself must be zero.")
    return matrix
