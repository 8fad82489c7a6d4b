"""Coverage of known factors: by hand, against scikit-learn, and never chosen on the test split."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import f1_score
from tiny_texts import random_activations, sparse_activations, text_of

from clustersae.features.coverage import (
    N_THRESHOLDS,
    Predicates,
    best_latents,
    coverage_rows,
    f1_by_threshold,
    find_predicates,
)


def columns(*predicates):
    return sparse.csc_array(np.stack(predicates, 1).astype(np.float64))


def predicates_of(validation, test):
    return Predicates([("factor", "value")], columns(validation), columns(test))


def test_f1_of_four_tokens_by_hand():
    z = sparse_activations([[1, 0], [2, 3], [0, 0], [3, 0]])
    f1, thresholds = f1_by_threshold(z, columns([0, 1, 0, 1]))
    assert thresholds[:, 0].tolist() == [0, 0]
    # Above 0 latent 0 fires at 0, 1, 3 (two are right, none is missing), latent 1 at 1 alone.
    assert f1[:, 0, 0] == pytest.approx([2 * 2 / (3 + 2), 2 * 1 / (1 + 2)])
    # Above 1 only the two right ones are left.
    at_one = thresholds[0].tolist().index(1)
    assert f1[0, at_one, 0] == 1


def test_f1_is_that_of_scikit_learn_at_every_threshold():
    z = random_activations(150, 6, 0.3)
    holds = np.random.default_rng(1).random((150, 4)) < 0.25
    f1, thresholds = f1_by_threshold(z, sparse.csc_array(holds.astype(np.float64)))
    assert f1.shape == (6, N_THRESHOLDS, 4)
    dense = z.toarray()
    for latent, m, predicate in np.ndindex(f1.shape):
        fires = dense[:, latent] > thresholds[latent, m]
        expected = f1_score(holds[:, predicate], fires, zero_division=0)
        assert f1[latent, m, predicate] == pytest.approx(expected)


def test_thresholds_leave_a_tenth_less_each_time():
    values = np.random.default_rng(2).permutation(np.arange(1, 51))
    z = sparse_activations(np.append(values, np.zeros(30))[:, None])
    _, (thresholds,) = f1_by_threshold(z, columns(np.ones(80)))
    assert [(values > threshold).sum() for threshold in thresholds] == list(range(50, 0, -5))


def test_a_latent_that_stands_for_a_factor_is_found_with_its_layer_and_threshold():
    generator = np.random.default_rng(3)
    splits = []
    for _ in range(2):
        holds = generator.random(200) < 0.3
        noise = random_activations(200, 5, 0.3, seed=len(splits)).toarray()
        # Latent 3 of layer 1 is above 2 exactly where it holds, and weakly active elsewhere.
        signal = noise.copy()
        signal[:, 3] = np.where(holds, 2 + generator.random(200), generator.random(200))
        splits.append((holds, {0: noise, 1: signal}))
    (validation, own), (test, other) = splits
    predicates = predicates_of(validation, test)
    candidates = [
        best_latents("0-1", layer, *map(sparse_activations, (own[layer], other[layer])), predicates)
        for layer in (0, 1)
    ]
    (row,) = coverage_rows(candidates, predicates)
    assert (row["group"], row["layer"], row["latent"]) == ("0-1", 1, 3)
    # Deciles come no nearer to the border: some 70 % of 200 activations lie below it.
    fires = other[1][:, 3] > row["threshold"]
    assert row["f1"] == pytest.approx(f1_score(test, fires))
    assert row["f1"] > 0.85
    assert row["n_positive"] == test.sum()
    assert (row["factor"], row["value"]) == ("factor", "value")


def test_the_test_split_chooses_nothing():
    # On the test split the other latent would have been the better one.
    holds = np.repeat([1, 0], 30)
    right, wrong = holds[:, None] * [1, 0], holds[:, None] * [0, 1]
    predicates = predicates_of(holds, holds)
    found = best_latents("0", 0, sparse_activations(right), sparse_activations(wrong), predicates)
    assert found.latent.tolist() == [0]
    assert found.validation_f1.tolist() == [1]
    assert found.f1.tolist() == [0]
    # Nor does it choose among layers: latent 0 of layer 1 is a little worse on validation alone.
    worse = right.copy()
    worse[0] = 0
    other = best_latents("0", 1, sparse_activations(worse), sparse_activations(right), predicates)
    (row,) = coverage_rows([other, found], predicates)
    assert (row["layer"], row["f1"]) == (0, 0)


def test_a_split_scores_as_it_did_when_the_latent_was_chosen_on_it():
    z = random_activations(150, 6, 0.3)
    holds = (z.toarray()[:, 2] > 0.6) | (np.arange(150) % 9 == 0)
    found = best_latents("0", 0, z, z, predicates_of(holds, holds))
    assert found.threshold[0] > 0
    assert found.f1 == pytest.approx(found.validation_f1)


def test_predicates_hold_from_where_they_are_known_and_in_both_splits():
    lines = []
    for split in ("validation", "test"):
        for row in range(12):
            lines.append((split, row, 1, "tense", "past" if row % 2 else "present"))
            lines.append((split, row, 3, "noun", "cat" if row else "dog"))
            often = 12 if split == "validation" else 4
            lines.append((split, row, 3, "verb", "sees" if row < often else "runs"))
        # Known at two tokens of six rows, in one split only: too few, and not in the other.
        lines += [(split, row, 3, "extra", f"of {split}") for row in range(6)]
    table = pd.DataFrame(lines, columns=["split", "row", "position", "factor", "value"])
    table = table.astype({"split": "category", "factor": "category", "value": "category"})
    text = text_of([[7, 8, 9, 10]] * 12, first=1)
    found = find_predicates(table, text, text)
    # Past and present: 6 rows · 4 tokens; cat: 11 rows · 2 tokens; dog: 2 tokens; sees: 24 and 8.
    assert found.names == [("noun", "cat"), ("tense", "past"), ("tense", "present")]
    assert found.test.sum(0).tolist() == [22, 24, 24]
    cat = found.validation[:, [0]].toarray().reshape(12, 4)
    assert (cat == np.array([[0] * 4] + [[0, 0, 1, 1]] * 11)).all()


def test_a_table_without_a_usable_predicate():
    table = pd.DataFrame(
        {"split": ["test"], "row": [0], "position": [0], "factor": ["tense"], "value": ["past"]}
    )
    text = text_of([[1, 2, 3]])
    assert find_predicates(table, text, text) is None
