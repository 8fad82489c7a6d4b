"""Prompts for a model of text8, spelled as text8's own script spells."""

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clustersae.circuits.tasks.families import FAMILIES
from clustersae.circuits.tasks.pairs import Loss
from clustersae.circuits.tasks.prepare import prepare
from clustersae.circuits.tasks.transliteration import in_its_letters
from clustersae.corpora.tokenizer import character_tokenizer, word_tokenizer

TEXT8 = character_tokenizer(string.ascii_lowercase + " ")
SPECIAL = {TEXT8.tokenizer.id_to_token(i) for i in TEXT8.vocabulary.special_ids}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPELLABLE = {*FAMILIES} - {"closing_bracket", "closing_quote", "pronoun_gender"}


def spelled(text):
    """The last lines of Mahoney's script: tr/A-Z/a-z/, s/0/ zero /g ..., tr/a-z/ /cs."""
    text = re.sub("[A-Z]", lambda found: found[0].lower(), text)
    for digit, word in enumerate(DIGITS):
        text = text.replace(str(digit), f" {word} ")
    return re.sub("[^a-z]+", " ", text)


def read(loaded, ids):
    return "".join(loaded.tokenizer.id_to_token(i) for i in ids)


@given(st.text(st.characters(max_codepoint=126)))
def test_text_is_spelled_as_the_script_spells_it(text):
    # A special token is one wherever it is spelled out.
    assume(not any(token in text for token in SPECIAL))
    ids = in_its_letters(TEXT8).tokenizer.encode(text, add_special_tokens=False).ids
    assert read(TEXT8, ids) == spelled(text)


def test_other_tokenizers_stay_as_they_are():
    for loaded in (word_tokenizer(), character_tokenizer(string.ascii_letters + " ")):
        assert in_its_letters(loaded) is loaded
    assert TEXT8.tokenizer.normalizer is None


@pytest.mark.parametrize("task", sorted(SPELLABLE))
def test_tasks_are_spelled_and_answers_begin_with_different_letters(task):
    found = prepare(task, TEXT8, 256, 20, 20)
    pairs = [*found.train, *found.test]
    assert len(pairs) == 40
    assert found.lost[Loss.UNKNOWN_TOKEN] == 0
    for pair in pairs:
        clean, answer = read(TEXT8, pair.clean[1:]), spelled(pair.text.clean_answer)
        assert len(pair.clean) == len(pair.patch)
        assert pair.answer != pair.wrong
        whole = spelled(pair.text.clean_prefix + pair.text.clean_answer)
        assert whole.startswith(clean + read(TEXT8, [pair.answer]))
        assert pair.n_moved <= len(answer)


def test_years_are_spelled_digit_by_digit():
    pair = prepare("greater_than", TEXT8, 256, 5, 5).train[0]
    text = read(TEXT8, pair.clean[1:])
    assert re.search(r"from the year one (\w+) (\w+) (\w+) to the year one (\w+) ", text)


def test_what_cannot_be_spelled_is_said():
    found = prepare("closing_bracket", TEXT8, 256, 5, 5)
    assert found.n_usable == 0
