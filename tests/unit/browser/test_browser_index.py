"""What the list shows of a latent, from rows that are worked out by hand."""

import numpy as np
import pandas as pd

from clustersae.browser.index import (
    best_factors,
    best_rules,
    clause_text,
    judged,
    kept_shares,
    peak_words,
    profile,
)

NAN = np.nan


def rules(*rows):
    names = ("latent", "layer", "tokens", "previous", "accuracy", "holds")
    return pd.DataFrame([dict(zip(names, row)) for row in rows], columns=names)


def test_kept_counts_other_layers_that_could_be_told_of_rules_that_explain():
    rows = rules(
        (0, 2, ["a"], [None], [0.9, 0.8, NAN], [True, True, False]),  # one of one other
        (0, 5, ["a"], [None], [0.6, 0.75, 0.7], [True, True, False]),  # one of two others
        (1, 2, ["a"], [None], [0.74, 0.7, 0.7], [True, True, True]),  # explains nothing
        (2, 7, ["a"], [None], [NAN, NAN, 0.9], [False, False, True]),  # nothing could be told
    )
    assert kept_shares(rows, [2, 5, 7]) == {0: 2 / 3}


def test_the_best_rule_is_that_with_most_accuracy_on_its_own_layer():
    rows = rules(
        (4, 2, ["a"], [None], [0.7, 0.99], [True, True]),
        (4, 5, ["b"], [None], [0.99, 0.8], [True, True]),
        (6, 5, [], [], [0.5, 0.5], [False, False]),  # no clause: nothing to tell by
    )
    best = best_rules(rows, [2, 5])
    assert list(best) == [4]
    assert (best[4]["tokens"], best[4]["own"]) == (["b"], 0.8)


def test_a_rule_reads_as_its_first_clauses():
    rule = {"tokens": [" the", "x", "y", "z"], "previous": [None, " of", "", None]}
    assert clause_text(rule) == "the · of x · y …"
    assert clause_text({"tokens": ["a"], "previous": [None]}) == "a"


def test_a_profile_shows_every_layer_that_has_something():
    assert profile(np.array([0.9, 0.001, 0.0, 0.09])) == "9101"
    assert profile(np.array([1.0])) == "9"


def test_a_latent_stands_for_the_factor_with_the_best_f1():
    rows = pd.DataFrame(
        {"latent": [3, 3, 8], "factor": ["f", "g", "g"], "value": ["x", "y", "z"],
         "f1": [0.5, 0.25, 0.75]}
    )  # fmt: skip
    assert best_factors(rows) == {3: ("f = x", 0.5), 8: ("g = z", 0.75)}


def test_a_judge_counts_on_the_layer_that_it_was_shown():
    rows = pd.DataFrame(
        {"latent": [1, 1, 1, 2], "layer": [0, 0, 1, 3], "explained_on": [0, 0, 0, 3],
         "balanced_accuracy": [0.5, 1.0, 0.0, NAN], "explanation": ["cats"] * 3 + [None]}
    )  # fmt: skip
    assert judged(rows) == ({1: 0.75}, {1: "cats"})


def test_words_at_peaks_are_different_and_few():
    assert peak_words(["a", "b", "a", "c"]) == ["a", "b", "c"]
    assert len(peak_words(map(str, range(100)))) == 6
