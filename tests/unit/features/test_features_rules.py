"""The rule learner: planted rules come back, and a slow greedy search finds the same."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from tiny_texts import random_activations, random_text, sparse_activations, text_of

from clustersae.features.rules import ANY, balanced_accuracy, find_clauses, firings_of, fit_rules
from clustersae.latents.sequences import NOTHING


def learn(text, activations, n_clauses=10):
    """The rules as sets of (token, previous), latent by latent."""
    return list(map(set, learn_in_order(text, activations, n_clauses)))


def learn_in_order(text, activations, n_clauses=10):
    """The rules as lists of (token, previous), as they are stored."""
    clauses, (held,) = find_clauses([text])
    rules = fit_rules(clauses, firings_of(activations, held), n_clauses)
    pairs = list(zip(clauses.token.tolist(), clauses.previous.tolist()))
    return [
        [pairs[clause] for clause in rules.indices[start:stop]]
        for start, stop in zip(rules.indptr, rules.indptr[1:])
    ]


def planted(text, *rules):
    """Activations of latents that fire exactly where a clause of their rule holds."""
    columns = []
    for rule in rules:
        fires = np.zeros(len(text), dtype=bool)
        for token, previous in rule:
            fires |= (text.token == token) & ((previous == ANY) | (text.previous == previous))
        columns.append(fires)
    return sparse_activations(np.stack(columns, 1) * 0.7)


def test_planted_rules_are_recovered():
    text = random_text()
    rules = [
        {(3, ANY)},
        {(3, 5)},
        {(2, ANY), (4, 1), (4, 2)},
        {(6, NOTHING)},
        {(1, ANY), (2, ANY), (3, ANY), (4, ANY)},
    ]
    assert learn(text, planted(text, *rules)) == rules


def test_a_token_that_only_ever_follows_one_other_is_explained_by_itself():
    text = text_of([[0, 1, 0, 1, 2, 2, 0, 1]])
    assert learn(text, planted(text, {(1, 0)})) == [{(1, ANY)}]


def test_the_clauses_that_tell_most_are_kept():
    # Token 1 is three times as frequent as token 2, and that as token 3.
    text = text_of([[1] * 9 + [2] * 3 + [3] + [0] * 20])
    z = planted(text, {(1, ANY), (2, ANY), (3, ANY)})
    assert learn(text, z, 1) == [{(1, ANY)}]
    assert learn(text, z, 2) == [{(1, ANY), (2, ANY)}]
    assert learn(text, z, 3) == [{(1, ANY), (2, ANY), (3, ANY)}]


def test_clauses_stand_in_the_order_of_what_they_tell():
    text = text_of([[7] * 9 + [2] * 3 + [5] + [0] * 20])
    z = planted(text, {(2, ANY), (5, ANY), (7, ANY)})
    assert learn_in_order(text, z) == [[(7, ANY), (2, ANY), (5, ANY)]]


def test_latents_that_always_or_never_fire_have_no_rule():
    text = random_text()
    z = sparse_activations(np.stack([np.ones(len(text)), np.zeros(len(text))], 1))
    assert learn(text, z) == [set(), set()]


def slow_rule(text, fires, n_clauses):
    """Greedy search over all clauses, one after the other, on the tokens not yet covered."""
    clauses = sorted(
        {(t, ANY) for t in text.token.tolist()}
        | set(zip(text.token.tolist(), text.previous.tolist()))
    )
    covered, rule = np.zeros(len(text), dtype=bool), []
    for _ in range(n_clauses):
        best, best_gain = None, 0.0
        for token, previous in clauses:
            holds = (text.token == token) & ((previous == ANY) | (text.previous == previous))
            new = holds & ~covered
            gain = (new & fires).sum() / fires.sum() - (new & ~fires).sum() / (~fires).sum()
            if gain > best_gain:
                best, best_gain, best_holds = (token, previous), gain, holds
        if best is None:
            break
        rule.append(best)
        covered |= best_holds
    return rule


@pytest.mark.parametrize("n_clauses", [1, 3, 10])
def test_rules_are_those_of_a_slow_greedy_search(n_clauses):
    text = random_text(n_rows=20, n_words=5, seed=1)
    noise = random_activations(len(text), 4, 0.3, seed=2).toarray()
    # Noisy firings on one token, and on one token after another, beside pure noise.
    noise[:, 0] *= text.token == 2
    noise[:, 1] *= (text.token == 3) & (text.previous != 1)
    noise[:, 2] += (text.token == 4) & (text.previous == 4)
    z = sparse_activations(noise)
    rules = learn_in_order(text, z, n_clauses)
    for latent, rule in enumerate(rules):
        assert rule == slow_rule(text, noise[:, latent] > 0, n_clauses)
    assert max(map(len, rules)) >= min(n_clauses, 3)


def test_scores_on_other_text_are_those_of_scikit_learn():
    fitted, scored = random_text(seed=3), random_text(n_rows=30, n_words=9, seed=4)
    z, other = (random_activations(len(text), 3, seed=5) for text in (fitted, scored))
    clauses, held = find_clauses([fitted, scored])
    rules = fit_rules(clauses, firings_of(z, held[0]), 10)
    predicted = (held[1] @ rules.T).toarray()
    assert predicted.max() == 1
    own, swapped = np.arange(3), np.array([2, 0, 1])
    firings = firings_of(other, held[1])
    for latents in (own, swapped):
        found = balanced_accuracy(rules, firings, own, latents)
        truth = other.toarray() > 0
        expected = [
            balanced_accuracy_score(truth[:, b], predicted[:, a]) for a, b in zip(own, latents)
        ]
        assert found == pytest.approx(expected)


def test_the_order_of_sequences_does_not_matter():
    text = random_text(n_rows=12, seed=6)
    z = random_activations(len(text), 4, seed=7)
    order = np.arange(len(text)).reshape(12, -1)[::-1].ravel()
    turned = text_of(text.token.reshape(12, -1)[::-1])
    assert learn(text, z) == learn(turned, z[order])


def test_enough_firings_are_asked_for_and_enough_silence():
    text = text_of([[0, 1, 2, 3]])
    _, (held,) = find_clauses([text])
    firings = firings_of(sparse_activations([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]]), held)
    assert firings.enough(1).tolist() == [True, True, True]
    assert firings.enough(2).tolist() == [False, True, False]
