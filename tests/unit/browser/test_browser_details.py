"""Chunks of details: what is in them, and that nothing else is."""

import numpy as np
import pyarrow as pa

from clustersae.browser.contexts import read_contexts
from clustersae.browser.details import chunk_size
from clustersae.features.contexts import SCHEMA

ROW = {"variant": "base", "partition": "single", "seed": 0, "cluster": "0-1"}


def contexts(*rows):
    names = ("latent", "layer", "rank", "activation", "sequence", "tokens", "activations")
    return pa.Table.from_pylist([ROW | dict(zip(names, row)) for row in rows], SCHEMA)


def test_contexts_are_read_in_order_without_silent_and_late_ones():
    found = read_contexts(
        contexts(
            (2, 1, 1, 1.0, 70, ["c", "b"], [1.0, 0.0]),
            (2, 1, 0, 3.0, 60, ["a", "b", "c"], [0.0, 3.0, 1.0]),
            (2, 0, 0, 2.0, 50, ["d"], [2.0]),
            (2, 1, 2, 0.5, 40, ["late"], [0.5]),
            (1, 0, 0, 9.0, 30, ["e", "f"], [8.0, 9.0]),
            (1, 0, 1, 0.0, 20, ["silent"], [0.0]),
        ),
        n_contexts=2,
    )
    assert found.sequence.tolist() == [30, 50, 60, 70]
    spans = zip(found.first[:-1], found.first[1:])
    texts = [[found.words[token] for token in found.token[a:b]] for a, b in spans]
    assert texts == [["e", "f"], ["d"], ["a", "b", "c"], ["c", "b"]]
    assert {latent: list(words) for latent, words in found.peaks()} == {
        1: ["f"],
        2: ["b", "d", "c"],  # the strongest of both layers first
    }


def test_no_contexts_are_none():
    found = read_contexts(contexts(), 3)
    assert len(found.latent) == 0
    assert list(found.peaks()) == []
    assert np.array_equal(found.first, [0])


def test_chunks_get_fewer_latents_where_these_have_more_layers():
    assert chunk_size(1) == 600
    assert chunk_size(30) == 20
    assert chunk_size(10_000) == 8
