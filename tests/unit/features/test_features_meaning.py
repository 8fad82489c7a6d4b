"""Meaning across layers: what keeps it, what does not, and the floor of another latent."""

import numpy as np
import pytest
from tiny_texts import random_text, sparse_activations

from clustersae.features.meaning import Scores, gather, kept_row, meaning_rows, score
from clustersae.features.rules import find_clauses, firings_of

N_WORDS = 8


def one_per_word(text, order):
    """Latent i fires where the token is order[i]."""
    return sparse_activations(text.token[:, None] == np.asarray(order))


def scores_of(by_layer, least=5):
    """Scores of latents whose words are given by layer, on two random texts."""
    fitted, scored = random_text(seed=1), random_text(seed=2)
    clauses, held = find_clauses([fitted, scored])
    evidence = {
        layer: gather(
            clauses,
            firings_of(one_per_word(fitted, order), held[0]),
            firings_of(one_per_word(scored, order), held[1]),
            10,
            least,
        )
        for layer, order in by_layer.items()
    }
    return score(evidence, np.random.default_rng(0))


def test_latents_of_one_meaning_score_as_high_on_every_layer():
    scores = scores_of({0: range(N_WORDS), 4: range(N_WORDS)})
    assert (scores.of_latents == 1).all()
    for row in meaning_rows(scores):
        assert (row["n_latents"], row["balanced_accuracy"], row["ceiling"]) == (N_WORDS, 1, 1)
        # The rule of one word is never right about another: no hit, some false alarms.
        assert 0.4 < row["floor"] < 0.5
    assert [(row["layer"], row["other_layer"]) for row in meaning_rows(scores)] == [
        (0, 0), (0, 4), (4, 0), (4, 4),
    ]  # fmt: skip
    assert kept_row(scores) == {
        "n_layers": 2, "n_explained": N_WORDS, "n_kept": N_WORDS, "share_kept": 1,
        "n_pairs": 2 * N_WORDS, "n_pairs_kept": 2 * N_WORDS,
    }  # fmt: skip


def test_a_latent_that_means_another_token_on_one_layer_is_at_chance_there():
    swapped = [1, 0, *range(2, N_WORDS)]
    scores = scores_of({0: range(N_WORDS), 1: swapped, 2: range(N_WORDS)})
    own = scores.of_latents[:, :, :2]
    assert (own[[0, 1, 2, 0], [0, 1, 2, 2]] == 1).all()
    # Its rule never hits, and its false alarms are the other word's share of the text.
    assert ((own[[0, 1, 1, 2], [1, 0, 2, 1]] > 0.4) & (own[[0, 1, 1, 2], [1, 0, 2, 1]] < 0.5)).all()
    row = kept_row(scores)
    assert row["n_kept"] == N_WORDS - 2
    # Of the six pairs of layers, each of the two latents loses the four with layer 1.
    assert (row["n_pairs"], row["n_pairs_kept"]) == (6 * N_WORDS, 6 * N_WORDS - 2 * 4)
    rows = {(row["layer"], row["other_layer"]): row for row in meaning_rows(scores)}
    assert rows[0, 2]["balanced_accuracy"] == 1
    assert rows[0, 1]["balanced_accuracy"] == pytest.approx(scores.of_latents[0, 1].mean())


def test_activity_that_text_does_not_explain_is_at_the_floor():
    fitted, scored = random_text(n_rows=300, seed=1), random_text(n_rows=300, seed=2)
    clauses, held = find_clauses([fitted, scored])
    generator = np.random.default_rng(3)
    noise = [sparse_activations(generator.random((len(fitted), 20)) < 0.1) for _ in range(2)]
    evidence = gather(clauses, firings_of(noise[0], held[0]), firings_of(noise[1], held[1]), 10, 5)
    (row,) = meaning_rows(score({0: evidence}, generator))
    assert row["balanced_accuracy"] == pytest.approx(0.5, abs=0.01)
    assert row["floor"] == pytest.approx(0.5, abs=0.01)


def test_latents_that_are_silent_on_a_layer_are_not_scored_there():
    scores = scores_of({0: range(N_WORDS), 1: [0, 1, 99, *range(3, N_WORDS)]})
    rows = {(row["layer"], row["other_layer"]): row for row in meaning_rows(scores)}
    counts = [rows[pair]["n_latents"] for pair in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert counts == [N_WORDS, N_WORDS - 1, N_WORDS - 1, N_WORDS - 1]
    assert kept_row(scores)["n_explained"] == N_WORDS - 1


def test_a_rule_needs_enough_firings_in_both_texts():
    fitted, scored = random_text(seed=1), random_text(seed=2)
    clauses, held = find_clauses([fitted, scored])
    often, other = (one_per_word(text, [0, 1]) for text in (fitted, scored))
    # On layer 0 latent 0 is silent in the second text, on layer 1 latent 1 in the first.
    silent = sparse_activations(other.toarray() * [0, 1])
    absent = sparse_activations(often.toarray() * [1, 0])
    first = gather(clauses, firings_of(often, held[0]), firings_of(silent, held[1]), 10, 5)
    second = gather(clauses, firings_of(absent, held[0]), firings_of(other, held[1]), 10, 5)
    scores = score({0: first, 1: second}, np.random.default_rng(0))
    counted = ~np.isnan(scores.of_latents)
    assert counted[0].tolist() == [[False, True], [False, True]]
    assert counted[1].tolist() == [[False, False], [True, False]]


def test_nothing_is_scored_without_enough_firings():
    scores = scores_of({0: range(N_WORDS), 1: range(N_WORDS)}, least=10**6)
    for row in meaning_rows(scores):
        assert row["n_latents"] == 0
        assert np.isnan([row["balanced_accuracy"], row["floor"], row["ceiling"]]).all()
    row = kept_row(scores)
    assert (row["n_explained"], row["n_kept"]) == (0, 0)
    assert np.isnan(row["share_kept"])


def test_a_group_of_one_layer_keeps_nothing_across_layers():
    row = kept_row(scores_of({3: range(N_WORDS)}))
    assert (row["n_layers"], row["n_explained"]) == (1, N_WORDS)
    names = ("n_kept", "share_kept", "n_pairs", "n_pairs_kept")
    assert np.isnan([row[name] for name in names]).all()


def test_half_of_what_lies_between_floor_and_ceiling_is_asked_for():
    # Ceilings of 0.9 and 0.8 above a floor of 0.5: 0.7 and 0.65 are enough.
    def scores(across, back, ceilings=(0.9, 0.8)):
        first, second = ceilings
        cells = np.array([[[first], [across]], [[back], [second]]])
        return Scores((0, 1), cells, np.full((2, 2), 0.5))

    assert kept_row(scores(0.7, 0.65))["n_kept"] == 1
    assert kept_row(scores(0.69, 0.65))["n_kept"] == 0
    assert kept_row(scores(0.7, 0.64))["n_kept"] == 0
    assert kept_row(scores(0.7, 0.64))["n_pairs_kept"] == 1
    # A rule that explains nothing on its own layer has no meaning to keep elsewhere.
    assert kept_row(scores(0.7, 0.65, (0.9, 0.74)))["n_pairs"] == 1
    # Explained means 0.75 on its own layer, for one of the layers at least.
    assert kept_row(scores(0.74, 0.74, (0.74, 0.74)))["n_explained"] == 0
    assert kept_row(scores(0.74, 0.74, (0.75, 0.74)))["n_explained"] == 1
