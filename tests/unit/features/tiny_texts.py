"""Texts and activations for tests of features, without any file behind them."""

import numpy as np
from scipy import sparse

from clustersae.latents.sequences import NOTHING, Text


def text_of(rows, first=0):
    """Rows of token ids, each beginning at column `first`, where nothing comes before."""
    parts = [np.array(row, dtype=np.int64) for row in rows]
    previous = [np.append(NOTHING, row[:-1]) for row in parts]
    sequence = [np.full(len(row), number) for number, row in enumerate(parts)]
    position = [np.arange(first, first + len(row)) for row in parts]
    return Text(*(np.concatenate(each) for each in (parts, previous, sequence, position)), [], [])


def random_text(n_rows=60, n_ctx=20, n_words=8, seed=0):
    words = np.random.default_rng(seed).integers(0, n_words, (n_rows, n_ctx))
    return text_of(words)


def sparse_activations(dense):
    return sparse.csr_array(np.asarray(dense, dtype=np.float32))


def random_activations(n_tokens, d_sae, density=0.2, seed=0):
    generator = np.random.default_rng(seed)
    fires = generator.random((n_tokens, d_sae)) < density
    return sparse_activations(fires * generator.random((n_tokens, d_sae)))
