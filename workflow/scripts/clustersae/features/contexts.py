"""Passages in which a latent is active, the most active first, and some in which it is silent.

A context is a window of consecutive tokens around a peak: a quarter of its tokens come after it,
the rest are what the model had read, and near the ends of a text it is shifted, so that all
windows are equally long where there is enough text. BOS and padding are in no window, and none
reaches across them. A sequence gives a latent no more than one context on a layer, around its
strongest activation there: windows that overlap would be one example counted twice.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy import sparse

from clustersae.latents.sequences import Text
from clustersae.latents.words import Words

#: Of a window, the share after the peak.
AFTER = 0.25
#: Random windows, each from its own sequence, among which silent ones are looked for.
POOL = 64


class Windows(NamedTuple):
    """The window around every token of a text, as rows of it."""

    first: np.ndarray  # int64 [n_tokens]
    stop: np.ndarray  # int64 [n_tokens], exclusive


class Places(NamedTuple):
    """Contexts of the latents of one layer, ordered by (latent, rank); arrays [n_contexts]."""

    latent: np.ndarray
    row: np.ndarray  # of the peak in the text; of silent contexts, of the token they are around
    rank: np.ndarray  # 0 is the most active; silent contexts come last
    active: np.ndarray  # bool


def windows_of(text: Text, n_tokens: int) -> Windows:
    """Windows of `n_tokens`, or of all consecutive tokens of the sequence if they are fewer."""
    row = np.arange(len(text))
    begins = (np.diff(text.sequence, prepend=-1) != 0) | (np.diff(text.position, prepend=-1) != 1)
    starts = np.flatnonzero(begins)
    run = np.cumsum(begins) - 1
    start, end = starts[run], np.append(starts[1:], len(text))[run]
    stop = np.minimum(np.maximum(row + 1 + int(AFTER * n_tokens), start + n_tokens), end)
    return Windows(np.maximum(stop - n_tokens, start), stop)


def find_places(
    activations: sparse.csr_array,
    text: Text,
    windows: Windows,
    n_contexts: int,
    generator: np.random.Generator,
) -> Places:
    """The contexts of every latent that fires: up to `n_contexts`, and half as many silent ones.

    Half, since a judge is shown half of a latent's contexts and asked about the others.

    Args:
        activations: [n_tokens, d_sae] of one layer, positive entries alone.
    """
    latent, row, rank = _peaks(activations, text.sequence, n_contexts)
    n_active = np.bincount(latent, minlength=activations.shape[1])
    quiet, quiet_row, quiet_rank = _silences(
        activations, text, windows, -(-n_contexts // 2), generator
    )
    known = n_active[quiet] > 0
    quiet, quiet_row, quiet_rank = quiet[known], quiet_row[known], quiet_rank[known]
    places = Places(
        np.concatenate([latent, quiet]),
        np.concatenate([row, quiet_row]),
        np.concatenate([rank, quiet_rank + n_active[quiet]]),
        np.arange(len(latent) + len(quiet)) < len(latent),
    )
    order = np.lexsort((places.rank, places.latent))
    return Places(*(each[order] for each in places))


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # latent, row, rank


def _peaks(activations: sparse.csr_array, sequence: np.ndarray, n_contexts: int) -> _Found:
    """The strongest activations of each latent, one per sequence, the earlier token on a tie."""
    columns = sparse.csc_array(activations)
    none = np.empty(0, dtype=np.int64)
    found = [(none, none, none)]
    for latent, (start, stop) in enumerate(pairwise(columns.indptr)):
        row, value = columns.indices[start:stop], columns.data[start:stop]
        strongest = np.argsort(-value, kind="stable")
        # Of equals, np.unique finds the first: the strongest of each sequence.
        _, first = np.unique(sequence[row[strongest]], return_index=True)
        chosen = row[strongest[np.sort(first)[:n_contexts]]]
        found.append((np.full(len(chosen), latent), chosen, np.arange(len(chosen))))
    latents, rows, ranks = (np.concatenate(each) for each in zip(*found))
    return latents, rows, ranks


def _silences(
    activations: sparse.csr_array,
    text: Text,
    windows: Windows,
    n_contexts: int,
    generator: np.random.Generator,
) -> _Found:
    """Random windows in which each latent is silent."""
    starts = np.flatnonzero(np.diff(text.sequence, prepend=-1) != 0)
    sizes = np.diff(starts, append=len(text))
    chosen = generator.permutation(len(starts))[:POOL]
    row = starts[chosen] + generator.integers(sizes[chosen])
    first, stop = windows.first[row], windows.stop[row]
    inside, ends = _flat(first, stop)
    members = sparse.csr_array(
        (np.ones(len(inside), dtype=np.float32), inside, np.append(0, ends)),
        shape=(len(row), len(text)),
    )
    fires = (members @ activations).toarray() > 0
    chance = generator.random(fires.shape)
    chance[fires] = 1  # above all others
    order = np.argsort(chance, axis=0)[:n_contexts].T
    silent = ~np.take_along_axis(fires.T, order, 1)
    latent, rank = np.nonzero(silent)
    return latent, row[order[latent, rank]], rank


def _flat(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows of some windows in a row, and where the windows end among them."""
    sizes = stop - first
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(stop - ends, sizes), ends


#: Of contexts.parquet; `activation` is that of the peak, 0 where the latent is silent.
SCHEMA = pa.schema(
    [
        ("variant", pa.string()),
        ("partition", pa.string()),
        ("seed", pa.int64()),
        ("cluster", pa.string()),
        ("latent", pa.int32()),
        ("layer", pa.int32()),
        ("rank", pa.int32()),
        ("activation", pa.float32()),
        ("sequence", pa.int32()),
        ("tokens", pa.list_(pa.string())),
        ("activations", pa.list_(pa.float32())),
    ]
)


def context_table(
    label: Mapping[str, str | int],
    activations: sparse.csr_array,
    places: Places,
    text: Text,
    windows: Windows,
    words: Words,
) -> pa.Table:
    """The contexts of the latents of one layer, in the format SCHEMA.

    Args:
        label: variant, partition, seed, cluster and layer.
        words: of the text.
    """
    first, stop = windows.first[places.row], windows.stop[places.row]
    inside, ends = _flat(first, stop)
    values = _values(activations, inside, np.repeat(places.latent, stop - first))
    peaks = _values(activations, places.row, places.latent)
    offsets = pa.array(np.append(0, ends), pa.int32())
    strings = pa.array(words.strings).take(pa.array(words.kind[inside]))
    n = len(places.latent)
    columns = {
        **{name: [value] * n for name, value in label.items()},
        "latent": places.latent,
        "rank": places.rank,
        "activation": np.where(places.active, peaks, 0),
        "sequence": text.sequence[places.row],
        "tokens": pa.ListArray.from_arrays(offsets, strings),
        "activations": pa.ListArray.from_arrays(offsets, pa.array(values)),
    }
    return pa.table(columns).select(SCHEMA.names).cast(SCHEMA)


def _values(activations: sparse.csr_array, row: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """activations[row, latent], float32, of arrays of rows and latents."""
    n_tokens, d_sae = activations.shape
    rows = np.repeat(np.arange(n_tokens), np.diff(activations.indptr))
    # One entry beyond all others stands for those that are not stored.
    keys = np.append(rows * d_sae + activations.indices, n_tokens * d_sae)
    wanted = row * d_sae + latent
    place = np.searchsorted(keys, wanted)
    return np.where(keys[place] == wanted, np.append(activations.data, 0)[place], 0)
