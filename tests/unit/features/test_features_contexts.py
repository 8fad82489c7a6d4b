"""Contexts: windows, peaks, silences, and a judge that can read them."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_texts import random_activations, random_text, sparse_activations, text_of

from clustersae.features import contexts as module
from clustersae.features.contexts import context_table, find_places, windows_of
from clustersae.features.judge.contexts import read_latents
from clustersae.latents.sequences import Text
from clustersae.latents.words import Words

LABEL = {"variant": "base", "partition": "single", "seed": 3, "cluster": "0-1", "layer": 1}


def places_of(text, z, n_contexts=3, n_tokens=4):
    windows = windows_of(text, n_tokens)
    return find_places(z, text, windows, n_contexts, np.random.default_rng(0)), windows


def table_of(text, z, n_contexts=3, n_tokens=4, **label):
    places, windows = places_of(text, z, n_contexts, n_tokens)
    words = Words([f"w{token}" for token in range(20)], text.token)
    return context_table(LABEL | label, z, places, text, windows, words)


def test_windows_end_a_quarter_after_the_peak_and_stay_inside_of_the_text():
    text = text_of([range(10), range(3)])
    first, stop = windows_of(text, 4)
    # Row 5: two before, itself, one after.
    assert (first[5], stop[5]) == (3, 7)
    assert [(first[0], stop[0]), (first[9], stop[9])] == [(0, 4), (6, 10)]
    # A sequence of three tokens is one window.
    assert {(a, b) for a, b in zip(first[10:], stop[10:])} == {(10, 13)}
    assert (windows_of(text, 1).first == np.arange(13)).all()


def test_no_window_reaches_across_a_token_that_is_left_out():
    # One sequence; column 3 is a BOS between two documents.
    position = np.array([1, 2, 4, 5, 6])
    text = Text(position, position - 1, np.zeros(5, dtype=int), position, [], [])
    first, stop = windows_of(text, 4)
    assert first.tolist() == [0, 0, 2, 2, 2]
    assert stop.tolist() == [2, 2, 5, 5, 5]


def test_the_strongest_activation_of_a_sequence_stands_for_it():
    text = text_of([range(4)] * 4)
    z = np.zeros((16, 2))
    z[[1, 2, 5, 9, 10], 0] = [3, 4, 5, 4, 4]
    places, _ = places_of(text, sparse_activations(z), n_contexts=2)
    active = places.row[places.active].tolist()
    # 5 in sequence 1, then 4 in sequences 0 and 2, of which the earlier wins, once.
    assert active == [5, 2]
    assert places.rank[places.active].tolist() == [0, 1]
    # Latent 1 is dead: it has no contexts, not even of silence.
    assert set(places.latent) == {0}
    # Sequence 3 is the only one in which latent 0 is silent.
    assert set(text.sequence[places.row[~places.active]]) == {3}


@pytest.mark.parametrize("pool", [64, 5])
def test_contexts_are_what_the_activations_say(pool, monkeypatch):
    monkeypatch.setattr(module, "POOL", pool)
    text, n_contexts, n_tokens = random_text(40, 12, n_words=20), 6, 5
    z = random_activations(len(text), 7, 0.1)
    dense = z.toarray()
    table = table_of(text, z, n_contexts, n_tokens).to_pandas()
    assert len(table[table["activation"] == 0]) > 0
    row_of = {pair: row for row, pair in enumerate(zip(text.sequence, text.position))}
    for latent, rows in table.groupby("latent"):
        active = rows[rows["activation"] > 0]
        peaks = [dense[text.sequence == sequence, latent].max() for sequence in range(40)]
        best = sorted((peak for peak in peaks if peak > 0), reverse=True)[:n_contexts]
        assert active["activation"].tolist() == pytest.approx(best)
        assert rows["rank"].tolist() == list(range(len(rows)))
        silent = rows[rows["activation"] == 0]
        assert len(silent) <= n_contexts / 2
        for some in (active, silent):
            assert some["sequence"].is_unique
        for row in rows.itertuples():
            assert max(row.activations) == row.activation
            assert len(row.tokens) == len(row.activations) == n_tokens
            # The window is a place of the text where these words and activations stand.
            starts = [row_of[row.sequence, column] for column in range(12 - n_tokens + 1)]
            expected = [
                (text.token[start : start + n_tokens], dense[start : start + n_tokens, latent])
                for start in starts
            ]
            assert any(
                [f"w{token}" for token in tokens] == list(row.tokens)
                and np.allclose(values, row.activations)
                for tokens, values in expected
            )


def test_silent_contexts_are_random_but_for_the_seed():
    text, z = random_text(200, 12), random_activations(2400, 5, 0.02)
    windows = windows_of(text, 4)

    def silent(seed):
        places = find_places(z, text, windows, 8, np.random.default_rng(seed))
        return [
            places.row[~places.active & (places.latent == latent)].tolist() for latent in (0, 1)
        ]

    assert silent(0) == silent(0)
    assert silent(0) != silent(1)
    # Latents do not all get the same ones.
    assert silent(0)[0] != silent(0)[1]
    assert [len(rows) for rows in silent(0)] == [4, 4]


def test_a_judge_reads_what_was_written(tmp_path):
    # Latent i fires at word i, on both layers, but on layer 1 latent 2 fires at word 5.
    text = random_text(80, 12, n_words=20)
    tables = []
    for layer, order in enumerate([range(6), [0, 1, 5, 3, 4, 9]]):
        z = sparse_activations(text.token[:, None] == np.array(order))
        tables.append(table_of(text, z, 8, 6, layer=layer))
    path = tmp_path / "contexts.parquet"
    with pq.ParquetWriter(path, module.SCHEMA, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    (latents,) = read_latents(path, 50, 10, seed=0)
    assert sorted(latent.label["latent"] for latent in latents) == list(range(6))
    for latent in latents:
        own = latent.label["latent"]
        assert latent.label == {
            "variant": "base", "partition": "single", "seed": 3, "cluster": "0-1", "latent": own,
        }  # fmt: skip
        assert latent.layer == 0
        assert len(latent.shown) == 4
        for context in latent.shown:
            fires = [value > 0 for value in context.activations]
            assert fires == [token == f"w{own}" for token in context.tokens]
            assert any(fires)
        meant = {2: 5, 5: 9}.get(own, own)
        assert all(f"w{meant}" in context.tokens for context in latent.held_out[1])
        for layer, word in ((0, own), (1, meant)):
            assert len(latent.counterexamples[layer]) == 4
            assert not any(f"w{word}" in each.tokens for each in latent.counterexamples[layer])


def test_a_layer_on_which_nothing_fires_has_no_contexts():
    text = text_of([range(4)] * 2)
    table = table_of(text, sparse_activations(np.zeros((8, 3))))
    assert table.num_rows == 0
    assert table.schema == module.SCHEMA
    assert pd.DataFrame(table.to_pandas()).empty
