"""How well single latents stand for the known factors of toy English.

A predicate is "the factor is known and has this value". Of all latents, layers and thresholds, the
one with the best F1 on the validation split stands for it; what counts is its F1 on the test
split, where nothing was chosen.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from clustersae.corpora.toy_factors import token_labels
from clustersae.latents.sequences import Text

#: Tokens of each split at which a predicate must hold to be looked for.
LEAST_POSITIVE = 20
#: Thresholds tried per latent: 0 and the deciles of its positive activations.
N_THRESHOLDS = 10

COVERAGE_COLUMNS = (
    *("factor", "value", "n_positive", "f1"),
    *("group", "latent", "layer", "threshold"),
)


class Predicates(NamedTuple):
    """Predicates, and at which tokens of the two splits they hold."""

    names: list[tuple[str, str]]  # (factor, value)
    validation: sparse.csc_array  # 0 or 1, float64 [n_tokens, n_predicates]
    test: sparse.csc_array


class Candidates(NamedTuple):
    """For each predicate the best latent of one layer; arrays [n_predicates]."""

    group: str
    layer: int
    latent: np.ndarray
    threshold: np.ndarray
    validation_f1: np.ndarray
    f1: np.ndarray  # on the test split


def find_predicates(table: pd.DataFrame, validation: Text, test: Text) -> Predicates | None:
    """Those that hold at LEAST_POSITIVE tokens of both splits; None if there are none.

    Args:
        table: `corpora.toy_factors.factor_table`.
    """
    names, columns = [], []
    for factor in sorted(table["factor"].unique()):
        own, values = _labels(table, "validation", factor, validation)
        other, other_values = _labels(table, "test", factor, test)
        for value in sorted({*values} & {*other_values}):
            holds = own == values.index(value), other == other_values.index(value)
            if min(each.sum() for each in holds) >= LEAST_POSITIVE:
                names.append((factor, value))
                columns.append(holds)
    if not names:
        return None
    matrices = (sparse.csc_array(np.stack(each, 1).astype(np.float64)) for each in zip(*columns))
    return Predicates(names, *matrices)


def _labels(
    table: pd.DataFrame, split: str, factor: str, text: Text
) -> tuple[np.ndarray, list[str]]:
    """Index of the factor's value at every token of `text`, or -1, and the values."""
    n_rows, n_ctx = int(text.sequence.max()) + 1, int(text.position.max()) + 1
    codes, values = token_labels(table, split, factor, n_rows, n_ctx)
    return codes[text.sequence, text.position], values


def best_latents(
    group: str,
    layer: int,
    validation: sparse.csr_array,
    test: sparse.csr_array,
    predicates: Predicates,
) -> Candidates:
    """The best latent and threshold of one layer for every predicate.

    Args:
        validation, test: activations [n_tokens, d_sae] of the splits, positive entries alone.
    """
    f1, thresholds = f1_by_threshold(validation, predicates.validation)
    flat = f1.reshape(-1, f1.shape[2])
    best = flat.argmax(0)
    latent, number = np.divmod(best, N_THRESHOLDS)
    threshold = thresholds[latent, number]
    return Candidates(
        group,
        layer,
        latent,
        threshold,
        np.take_along_axis(flat, best[None], 0)[0],
        _f1_above(sparse.csc_array(test)[:, latent], threshold, predicates.test),
    )


def f1_by_threshold(
    activations: sparse.csr_array, holds: sparse.csc_array
) -> tuple[np.ndarray, np.ndarray]:
    """F1 of "z > threshold" for every latent, threshold and predicate, and the thresholds.

    Args:
        activations: z [n_tokens, d_sae], positive entries alone.
        holds: 0 or 1, [n_tokens, n_predicates].

    Returns:
        [d_sae, N_THRESHOLDS, n_predicates] and [d_sae, N_THRESHOLDS].
    """
    n_tokens, d_sae = activations.shape
    thresholds = _thresholds(sparse.csc_array(activations))
    latent = activations.indices
    # The number of the highest threshold that an entry exceeds; it exceeds all lower ones too.
    number = sum(activations.data > thresholds[latent, m] for m in range(1, N_THRESHOLDS))
    cell = latent * N_THRESHOLDS + number
    ones = np.ones(len(cell), dtype=np.float64)
    fires = sparse.csr_array(
        (ones, cell, activations.indptr), shape=(n_tokens, d_sae * N_THRESHOLDS)
    )
    shape = (d_sae, N_THRESHOLDS)
    hits = _from_above((fires.T @ holds).toarray().reshape(*shape, -1))
    fired = _from_above(np.bincount(cell, minlength=d_sae * N_THRESHOLDS).reshape(shape))
    return 2 * hits / (fired[..., None] + holds.sum(0)), thresholds


def _from_above(counts: np.ndarray) -> np.ndarray:
    """Cumulative over thresholds (axis 1), from the highest down."""
    return counts[:, ::-1].cumsum(1)[:, ::-1]


def _thresholds(activations: sparse.csc_array) -> np.ndarray:
    """0 and the lower deciles of each latent's positive activations, [d_sae, N_THRESHOLDS].

    The m-th is the least that m tenths of them do not exceed.
    """
    thresholds = np.zeros((activations.shape[1], N_THRESHOLDS), dtype=activations.dtype)
    tenths = np.arange(1, N_THRESHOLDS)
    for latent, (start, stop) in enumerate(pairwise(activations.indptr)):
        if start < stop:
            ascending = np.sort(activations.data[start:stop])
            thresholds[latent, 1:] = ascending[-(-tenths * (stop - start) // N_THRESHOLDS) - 1]
    return thresholds


def _f1_above(
    activations: sparse.csc_array, threshold: np.ndarray, holds: sparse.csc_array
) -> np.ndarray:
    """F1 [n] of "z > threshold", of every column of z [n_tokens, n] with its own predicate."""
    column = np.repeat(np.arange(activations.shape[1]), np.diff(activations.indptr))
    fires = sparse.csc_array(
        ((activations.data > threshold[column]).astype(np.float64), activations.indices,
         activations.indptr),
        shape=activations.shape,
    )  # fmt: skip
    hits = fires.multiply(holds).sum(0)
    return 2 * hits / (fires.sum(0) + holds.sum(0))


def coverage_rows(candidates: Sequence[Candidates], predicates: Predicates) -> list[dict[str, Any]]:
    """One row per predicate: the best of all layers' candidates, by F1 on the validation split."""
    winner = np.argmax([each.validation_f1 for each in candidates], axis=0)
    n_positive = predicates.test.sum(0)
    rows = []
    for index, (factor, value) in enumerate(predicates.names):
        best = candidates[winner[index]]
        rows.append(
            {
                "factor": factor,
                "value": value,
                "n_positive": int(n_positive[index]),
                "f1": float(best.f1[index]),
                "group": best.group,
                "latent": int(best.latent[index]),
                "layer": best.layer,
                "threshold": float(best.threshold[index]),
            }
        )
    return rows
