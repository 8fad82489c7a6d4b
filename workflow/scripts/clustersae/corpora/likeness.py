"""Are validation and test texts of one kind? One is chosen on, the other is reported."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from clustersae.runtime import log

ROWS_AT_ONCE = 1 << 12

#: Nats per token between the two splits, and standard errors of it, from which on one is told.
MARKED, STANDARD_ERRORS = 0.2, 4.0


class Surprise(NamedTuple):
    """How well the frequencies of the training split's tokens predict a split."""

    nats: float  # per token: mean over rows
    error: float  # its standard error, rows taken as independent


def surprises(splits: dict[str, Tensor], vocab_size: int) -> dict[str, Surprise]:
    """−ln of each token's share of the training split, with one occurrence more for every id.

    Args:
        splits: rows [n_rows, n_ctx] of train, validation and test.
    """
    counts = np.ones(vocab_size)
    for rows in splits["train"].split(ROWS_AT_ONCE):
        counts += np.bincount(rows.numpy().ravel(), minlength=vocab_size)
    nats = -np.log(counts / counts.sum())
    return {split: _surprise(splits[split], nats) for split in ("validation", "test")}


def warn_of_difference(found: dict[str, Surprise]) -> bool:
    """Warn, and say so, where validation and test differ markedly."""
    validation, test = found["validation"], found["test"]
    difference = abs(validation.nats - test.nats)
    noise = float(np.hypot(validation.error, test.error))
    differ = difference > max(MARKED, STANDARD_ERRORS * noise)
    if differ:
        log.warn(
            "Validation and test are texts of different kinds: by the frequencies of training"
            f" tokens they cost {validation.nats:.2f} and {test.nats:.2f} nats per token. What is"
            " chosen on one may not be best on the other: shuffle the documents (corpus.shuffle),"
            " or mix the files."
        )
    return differ


def _surprise(rows: Tensor, nats: np.ndarray) -> Surprise:
    means = np.concatenate([nats[part.numpy()].mean(axis=1) for part in rows.split(ROWS_AT_ONCE)])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.inf
    return Surprise(float(means.mean()), float(error))
