"""k-sparse probes: a logistic regression on the k latents that differ most between two classes.

After Gurnee et al. 2023 ("Finding Neurons in a Haystack") and the sparse probing of SAEBench
(Karvonen et al. 2025). Latents are chosen by the difference of their means between tokens that have
the label and tokens that have not, over their standard deviation, so that the scale of a latent
says nothing. Choice and fit see the validation split, accuracy and F1 are of the test split.
Classes are balanced: a probe that always says the same has an accuracy of 0.5.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from clustersae.probing.labels import Labelled

#: Latents of a probe.
SIZES = (1, 4, 16)
#: Inverse strengths of the penalty, of probes of k latents and tried for whole activations.
STRENGTH, STRENGTHS = 1.0, (1e-3, 1e-2, 1e-1, 1.0)

PROBE_COLUMNS = ("label", "layer", "k", "n_train", "n_test", "accuracy", "f1")
#: `k` of the probes of whole activations.
ALL = 0


def sparse_probe_rows(
    layer: int, train: sparse.csr_array, test: sparse.csr_array, labels: Sequence[Labelled]
) -> Iterator[dict[str, Any]]:
    """One row per label and size.

    Args:
        train, test: latents [n_tokens, d_sae] of the two texts that `labels` have places in.
    """
    for label in labels:
        own = sparse.csc_array(train[label.train])
        best = np.argsort(-separation(own, label.train_holds), kind="stable")[: max(SIZES)]
        x, other = own[:, best].toarray(), test[label.test][:, best].toarray()
        for k in SIZES:
            probe = LogisticRegression(C=STRENGTH, solver="newton-cholesky")
            yield _row(probe, label, layer, k, x[:, :k], other[:, :k])


def dense_probe_rows(
    layer: int, train: np.ndarray, test: np.ndarray, labels: Sequence[Labelled]
) -> Iterator[dict[str, Any]]:
    """One row per label for the activations [n_tokens, d_model] themselves, `k` = ALL.

    With a weight for every dimension the penalty matters; cross-validation on the training tokens
    chooses it.
    """
    for label in labels:
        probe = LogisticRegressionCV(
            Cs=list(STRENGTHS),
            cv=3,
            l1_ratios=(0,),
            scoring="neg_log_loss",
            max_iter=300,
            tol=1e-3,
            use_legacy_attributes=False,
        )
        yield _row(probe, label, layer, ALL, train[label.train], test[label.test])


def separation(latents: sparse.csc_array, holds: np.ndarray) -> np.ndarray:
    """|mean with the label − mean without| / standard deviation, [d_sae]; 0 where none varies.

    Args:
        latents: [n, d_sae]; holds: bool [n], both values occur.
    """
    n = len(holds)
    signs = np.where(holds, 1 / holds.sum(), -1 / (~holds).sum())
    latents = latents.astype(np.float64)
    mean = latents.sum(0) / n
    variance = latents.multiply(latents).sum(0) / n - mean**2
    varies = variance > 1e-12 * np.maximum(mean**2, np.finfo(float).tiny)
    scale = np.sqrt(np.where(varies, variance, 1))
    return np.where(varies, np.abs(latents.T @ signs) / scale, 0.0)


def _row(
    probe: LogisticRegression, label: Labelled, layer: int, k: int, x: np.ndarray, other: np.ndarray
) -> dict[str, Any]:
    """Fit to x [n, k], judge on `other` [m, k]; both in standard deviations of x."""
    x, other = x.astype(np.float64), other.astype(np.float64)
    mean, scale = x.mean(0), x.std(0)
    scale[scale == 0] = 1
    probe.fit((x - mean) / scale, label.train_holds)
    said = probe.predict((other - mean) / scale)
    hits = int((said & label.test_holds).sum())
    values = (
        *(label.name, layer, k, len(x), len(other)),
        float((said == label.test_holds).mean()),
        2 * hits / int(said.sum() + label.test_holds.sum()),
    )
    return dict(zip(PROBE_COLUMNS, values))
