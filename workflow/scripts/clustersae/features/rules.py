"""Explanations of latents that need no judge: a few tokens, or tokens after tokens.

A clause is "the token is t" or "the token is t after the token s". A rule is a disjunction of a
few clauses, and predicts that its latent fires where one of them holds. It is fitted greedily:
the clause added next is the one that raises balanced accuracy most, which is to say

    TPR - FPR = 2 · balanced accuracy - 1

and none is added that does not raise it. A clause of t holds wherever one of t after s does, and
clauses of different tokens never hold together. So a clause adds Σ (firings / all firings -
silences / all silences) over the tokens that no earlier one covers, and it is clear beforehand
which clauses the greedy search ends with: of token t either "t" alone, if no "t after s" adds as
much, or its "t after s" that add anything; of all these the ones that add most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from clustersae.latents.sequences import Text

#: In the place of a predecessor: whatever it is.
ANY = -2


class Clauses(NamedTuple):
    """All clauses that hold somewhere in some texts.

    Those of one token stand together, "t" before any "t after s". The order breaks ties.
    """

    token: np.ndarray  # int64 [n_clauses]
    previous: np.ndarray  # int64 [n_clauses]; ANY, or text.NOTHING at the start of a row

    @property
    def alone(self) -> np.ndarray:
        """Which ones do not ask for a predecessor, bool [n_clauses]."""
        return self.previous == ANY


def find_clauses(texts: Sequence[Text]) -> tuple[Clauses, list[sparse.csr_array]]:
    """The clauses of all texts, and where they hold in each: 0 or 1, [n_tokens, n_clauses]."""
    span = max(int(ids.max()) for text in texts for ids in (text.token, text.previous)) + 1 - ANY
    keys = [
        np.stack([text.token * span, text.token * span + text.previous - ANY], axis=1)
        for text in texts
    ]
    known, clause = np.unique(np.concatenate(keys), return_inverse=True)
    token, previous = np.divmod(known, span)
    ends = np.cumsum([len(text) for text in texts])[:-1]
    held = [
        sparse.csr_array(
            (np.ones(each.size, dtype=np.int32), each.ravel(), np.arange(0, each.size + 1, 2)),
            shape=(len(each), len(known)),
        )
        for each in np.split(clause.reshape(-1, 2), ends)
    ]
    return Clauses(token, previous + ANY), held


class Firings(NamedTuple):
    """How often each latent fires in a text on one layer, and under which clauses."""

    by_clause: sparse.csr_array  # int32 [d_sae, n_clauses]
    held: np.ndarray  # int [n_clauses], tokens of the text at which a clause holds
    total: np.ndarray  # int [d_sae], tokens at which a latent fires
    n_tokens: int

    def enough(self, least: int) -> np.ndarray:
        """Latents that fire at `least` tokens and are silent at as many, bool [d_sae]."""
        return np.minimum(self.total, self.n_tokens - self.total) >= least


def firings_of(activations: sparse.csr_array, held: sparse.csr_array) -> Firings:
    """Count the firings of latents in a text.

    Args:
        activations: [n_tokens, d_sae] with positive entries alone.
        held: [n_tokens, n_clauses] of the same text.
    """
    ones = np.ones(activations.nnz, dtype=np.int32)
    fires = sparse.csr_array(
        (ones, activations.indices, activations.indptr), shape=activations.shape
    )
    by_clause = sparse.csr_array(fires.T @ held)
    by_clause.sort_indices()
    return Firings(by_clause, held.sum(0), fires.sum(0), len(held.indptr) - 1)


def fit_rules(clauses: Clauses, firings: Firings, n_clauses: int) -> sparse.csr_array:
    """The clauses of every latent's rule, at most `n_clauses`: 0 or 1, int32 [d_sae, all clauses].

    Entries of a latent are stored in the order of what they add, largest first. Latents that
    always or never fire have an empty rule.
    """
    counts = firings.by_clause
    latent = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    clause, fired = counts.indices, counts.data
    silent = firings.n_tokens - firings.total
    gain = fired / firings.total[latent] - (firings.held[clause] - fired) / np.maximum(
        silent[latent], 1
    )
    # Runs of one latent's clauses of one token, each beginning with "the token is t".
    alone = clauses.alone[clause]
    starts = np.flatnonzero(alone)
    best = np.maximum.reduceat(gain, starts) if len(starts) else gain
    run = np.cumsum(alone) - 1
    whole = (gain[starts] == best)[run]
    useful = (gain > 0) & (silent[latent] > 0) & (alone == whole)

    latent, clause, gain = latent[useful], clause[useful], gain[useful]
    order = np.lexsort((clause, -gain, latent))
    latent, clause = latent[order], clause[order]
    rank = np.arange(len(latent)) - np.searchsorted(latent, latent)
    latent, clause = (each[rank < n_clauses] for each in (latent, clause))
    # By rows and columns instead, scipy would sort the clauses.
    ends = np.bincount(latent, minlength=counts.shape[0]).cumsum()
    ones = np.ones(len(clause), dtype=np.int32)
    return sparse.csr_array((ones, clause, np.append(0, ends)), shape=counts.shape)


def balanced_accuracy(
    rules: sparse.csr_array, firings: Firings, own: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """How well the rules of the latents `own` tell when the latents `other` fire, [n].

    The mean of the shares of firing and of silent tokens that are told right: 0.5 is chance. NaN
    for a latent that always or never fires.
    """
    chosen = rules[own]
    right = np.asarray(chosen.multiply(firings.by_clause[other]).sum(1))
    wrong = chosen @ firings.held - right
    total = firings.total[other]
    with np.errstate(invalid="ignore"):
        return 0.5 + (right / total - wrong / (firings.n_tokens - total)) / 2
