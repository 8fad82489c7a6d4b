"""Probes of latents that are known to tell a label, or to tell nothing."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.preprocessing import StandardScaler

from clustersae.experiment.probes import LEAST
from clustersae.probing.labels import Labelled, find_labels
from clustersae.probing.probes import SIZES, dense_probe_rows, separation, sparse_probe_rows

N, D = 400, 40


def label(generator, n=N):
    holds = [generator.permutation(np.arange(n) % 2 == 0) for _ in range(2)]
    return Labelled("l", np.arange(n), np.arange(n), *holds)


def noise(generator, n=N):
    """Sparse latents that know nothing of any label."""
    return generator.random((n, D)) * (generator.random((n, D)) < 0.2)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def planted(generator):
    """Label, and latents of two texts of which the seventh fires where it holds."""
    own = label(generator)
    texts = [noise(generator) for _ in range(2)]
    for text, holds in zip(texts, (own.train_holds, own.test_holds)):
        text[:, 7] = 3 * holds
    return own, texts


def rows_of(own, texts, layer=2):
    return list(sparse_probe_rows(layer, *map(sparse.csr_array, texts), [own]))


def test_one_latent_that_is_the_label_is_enough(planted):
    rows = rows_of(*planted)
    assert [row["k"] for row in rows] == list(SIZES)
    assert rows[0]["accuracy"] == rows[0]["f1"] == 1
    assert {(row["label"], row["layer"], row["n_train"]) for row in rows} == {("l", 2, N)}


def test_latents_that_know_nothing_are_near_chance(generator):
    """Of 20 draws; one accuracy has a standard deviation of 0.025."""
    accuracies = []
    for _ in range(20):
        texts = [noise(generator) for _ in range(2)]
        accuracies += [row["accuracy"] for row in rows_of(label(generator), texts)]
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.02)


def test_order_and_scale_of_latents_change_nothing(planted, generator):
    own, texts = planted
    for text, holds in zip(texts, (own.train_holds, own.test_holds)):
        text[:, 7] = generator.random(N) + 0.6 * holds  # no longer certain
        text[:, 8] += 0.3 * holds
    before = rows_of(own, texts)
    order, scale = generator.permutation(D), 10 ** generator.uniform(-2, 2, D)
    after = rows_of(own, [(text * scale)[:, order] for text in texts])
    for a, b in zip(before, after):
        assert a["accuracy"] == pytest.approx(b["accuracy"], abs=1 / N)
    assert before[0]["accuracy"] < 1


def test_the_probe_is_that_of_scikit_learn_by_hand(planted, generator):
    own, (train, test) = planted
    train[:, 7] += 4 * generator.random(N)
    test[:, 7] += 4 * generator.random(N)
    rows = rows_of(own, [train, test])
    difference = train[own.train_holds].mean(0) - train[~own.train_holds].mean(0)
    best = np.argsort(-np.abs(difference) / train.std(0))[:4]
    scaler = StandardScaler().fit(train[:, best])
    probe = LogisticRegression().fit(scaler.transform(train[:, best]), own.train_holds)
    said = probe.predict(scaler.transform(test[:, best]))
    assert rows[1]["accuracy"] == pytest.approx(accuracy_score(own.test_holds, said))
    assert rows[1]["f1"] == pytest.approx(f1_score(own.test_holds, said))


def test_separation_by_hand_and_of_latents_that_never_vary():
    latents = np.array([[2.0, 0.1, 0.0], [4.0, 0.1, 0.0], [0.0, 0.1, 0.0], [0.0, 0.1, 0.0]])
    for unit in (1, 1e-6):
        found = separation(sparse.csc_array(unit * latents), np.array([True, True, True, False]))
        assert found.tolist() == pytest.approx([2 / np.sqrt(2.75), 0, 0])


def test_the_whole_activation_tells_what_no_single_dimension_does(generator):
    """The label is the sign of a sum of ten dimensions."""
    texts = [generator.standard_normal((N, 10)) for _ in range(2)]
    own = Labelled("l", np.arange(N), np.arange(N), *(text.sum(1) > 0 for text in texts))
    (row,) = dense_probe_rows(0, *texts, [own])
    assert row["accuracy"] > 0.95
    one = rows_of(own, texts)[0]
    assert 0.5 < one["accuracy"] < 0.7


def test_labels_are_balanced_rare_ones_left_out_and_doubles_asked_for_once(generator):
    n = 1000
    base = generator.random(n) < 0.3
    rare = np.arange(n) < LEAST - 1
    held = {"a": base, "opposite of a": ~base, "rare": rare, "b": generator.random(n) < 0.06}
    held |= {"c": generator.random(n) < 0.9, "enough": np.arange(n) >= n - LEAST}
    other = {**held, "b": generator.random(n) < 0.5, "rare": generator.random(n) < 0.5}
    found = {each.name: each for each in find_labels(held, other, 300, generator)}
    assert list(found) == ["a", "b", "c", "enough"]
    assert len(found["a"].train) == 300
    for each in found.values():
        assert each.train_holds.mean() == each.test_holds.mean() == 0.5
        assert (held[each.name][each.train] == each.train_holds).all()
        assert (np.diff(each.train) > 0).all()
    assert len(found["b"].train) == 2 * held["b"].sum()
    assert len(found["c"].train) == 2 * (~held["c"]).sum()
    # What is drawn of one label is drawn of others as well.
    assert len(np.intersect1d(found["a"].test, found["b"].test)) > 120


def test_a_text_without_common_labels_has_none(generator):
    assert find_labels({}, {}, 100, generator) == []
