"""Passages and marks by hand; replies read leniently, and never wrongly."""

import random

import pytest

from clustersae.features.judge.contexts import Context
from clustersae.features.judge.examples import (
    active_tokens,
    detection,
    fuzzing,
    passage,
    separator_of,
    silent_tokens,
)
from clustersae.features.judge.questions import (
    Malformed,
    detect,
    explain,
    fuzz,
    read_explanation,
    read_verdicts,
)
from clustersae.features.judge.scoring import balanced_accuracy

WORDS = Context(1, ("the", "old", "dog", "barks", "."), (0.0, 2.0, 9.0, 3.0, 0.0))


def test_marks_by_hand():
    # 2 of 9 is below the share that is marked; 3 is above it.
    assert active_tokens(WORDS) == [2, 3]
    assert passage(WORDS, " ") == "the old dog barks ."
    assert passage(WORDS, " ", active_tokens(WORDS)) == "the old <<dog barks>> ."
    assert passage(WORDS, " ", [0, 4]) == "<<the>> old dog barks <<.>>"
    # Tokens of a weak firing are no silent ones.
    assert sorted(silent_tokens(WORDS, random.Random(0))) == [0, 4]


@pytest.mark.parametrize(
    ("tokens", "separator", "text"),
    [
        (("a", "dog"), " ", "a dog"),
        (("d", "o", "g", " "), "", "dog "),
        # Letters of Maltese, and a sign, with which some tokenizers write a space inside of tokens.
        (("Ċirku", "Ġdid", "▁"), " ", "Ċirku Ġdid ▁"),
        ((" a", "\ndog"), "", " a\\ndog"),
    ],
)
def test_words_are_spaced_and_pieces_joined(tokens, separator, text):
    context = Context(0, tokens, (0.0,) * len(tokens))
    assert separator_of([context]) == separator
    assert passage(context, separator) == text


def test_detection_has_as_many_of_each():
    held_out = [WORDS] * 4
    others = [Context(place, ("x",), (1.0,)) for place in range(3)]
    examples = detection(held_out, others, " ", random.Random(0))
    assert sorted(example.active for example in examples) == [False] * 3 + [True] * 3
    assert all(example.active == ("dog" in example.text) for example in examples)
    assert examples != detection(held_out, others, " ", random.Random(1))


def test_every_passage_is_marked_rightly_once_and_wrongly_once():
    held_out = [Context(n, (f"w{n}", "dog", "ran"), (0.0, 1.0, 0.0)) for n in range(5)]
    sets = fuzzing(held_out, " ", random.Random(0))
    assert [len(examples) for examples in sets] == [5, 5]
    for examples in sets:
        assert {sum(example.active for example in examples)} <= {2, 3}
        assert all(example.active == ("<<dog>>" in example.text) for example in examples)
    first, second = ({example.text for example in each} for each in sets)
    assert not first & second
    # Nothing to mark wrongly where the latent is active throughout.
    full = Context(9, ("a", "b"), (1.0, 1.0))
    assert [
        [example.active for example in each] for each in fuzzing([full], " ", random.Random(0))
    ] == [[True], []]


def test_questions_hold_what_they_ask_about():
    for question in (
        explain(["a <<dog>>"]),
        detect("dogs", ["a <<dog>>"]),
        fuzz("dogs", ["a <<dog>>"]),
    ):
        assert "1. a <<dog>>" in question.messages[-1]["content"]
    assert detect("dogs", ["a"] * 3).read("[1, 0, 1]") == [True, False, True]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Explanation: words  for\npets", "words for pets"),
        ("Explanation: no.\n**Explanation:** **pets**", "pets"),
        ("Explanation: pets \ud800", "pets"),
    ],
)
def test_explanations(reply, text):
    assert read_explanation(reply) == text


@pytest.mark.parametrize("reply", ["", "pets", "Explanation: ", "Explanation:" + "a" * 2000])
def test_no_explanation(reply):
    with pytest.raises(Malformed):
        read_explanation(reply)


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        ("[1, 0]", [True, False]),
        ("```json\n[0,\n 1]\n```", [False, True]),
        ("First [1, 1], or rather [true, false].", [True, False]),
        ("{'answer': [0, 0]} as [asked] for", [False, False]),
    ],
)
def test_verdicts(reply, verdicts):
    assert read_verdicts(reply, 2) == verdicts


@pytest.mark.parametrize("reply", ["", "1, 0", "[1]", "[1, 0, 1]", "[1, 2]", '["1", "0"]', "[1, 0"])
def test_no_verdicts(reply):
    with pytest.raises(Malformed):
        read_verdicts(reply, 2)


def test_balanced_accuracy_by_hand():
    # Two of three active ones and one of one silent found: (2/3 + 1) / 2.
    pairs = [(True, True), (True, True), (True, False), (False, False)]
    assert balanced_accuracy(pairs) == pytest.approx(5 / 6)
    assert balanced_accuracy([(True, True), (False, True)]) == 0.5
    assert balanced_accuracy([(True, True)]) != balanced_accuracy([(True, True)])  # NaN
