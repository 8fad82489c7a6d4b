"""The generated tasks, in word-, character- and subword-level tokenizers."""

import re
import string
from collections import Counter

import pytest
from language_models import STORIES, needs_stories
from tokenizers import Tokenizer, models

from clustersae.circuits.tasks import lexicon
from clustersae.circuits.tasks.families import FAMILIES
from clustersae.circuits.tasks.pairs import Loss
from clustersae.circuits.tasks.prepare import prepare
from clustersae.corpora.tokenizer import (
    LoadedTokenizer,
    character_tokenizer,
    model_tokenizer,
    word_tokenizer,
)
from clustersae.corpora.tokens import Vocabulary

FORMS = (*lexicon.NOUNS, *lexicon.THINGS, *lexicon.ANSWER_VERBS)
SINGULAR, PLURAL = ({*forms} for forms in zip(*FORMS))
TEMPLATE_WORDS = [
    *("The", "When", "After", "Then", "Once", "There", "She", "He", "the", "there", "a", "and"),
    *("to", "from", "at", "that", "went", "came", "gave", "handed", "lasted", "year", "named"),
    *(",", ".", *(mark for marks in lexicon.BRACKETS + lexicon.QUOTES for mark in marks)),
]


def all_words() -> LoadedTokenizer:
    """One token for every word of every family, two for a year."""
    lists = [lexicon.RANDOM_WORDS, lexicon.TRAITS, lexicon.WOMEN, lexicon.MEN, lexicon.EVENTS]
    lists += [*lexicon.NOUNS, *lexicon.THINGS, *lexicon.VERBS, *lexicon.ANSWER_VERBS]
    lists += [lexicon.YEARS, lexicon.PREPOSITIONS, TEMPLATE_WORDS]
    words = " ".join(word for words in lists for word in words).split()
    ids = {word: index for index, word in enumerate(dict.fromkeys(["<bos>", "<unk>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = word_tokenizer().tokenizer.pre_tokenizer
    return LoadedTokenizer(tokenizer, Vocabulary("words", len(ids), 0, None))


TOKENIZERS = {
    "word": all_words,
    "character": lambda: character_tokenizer(string.ascii_letters + string.digits + " .,()[]{}\"'"),
    "subword": lambda: model_tokenizer(STORIES),
}


@pytest.fixture(
    params=["word", "character", pytest.param("subword", marks=needs_stories)], scope="module"
)
def loaded(request):
    return TOKENIZERS[request.param]()


def fillable(task, loaded):
    """Skip what a tokenizer has no words for: the quotes of this one are one token and two."""
    if task == "closing_quote" and loaded.vocabulary.vocab_size == 512:
        assert prepare(task, loaded, 512, 50, 50).n_tried == 0
        pytest.skip("its quotation marks differ in length")


def prompts(task, loaded, n=200, seed=0):
    fillable(task, loaded)
    found = prepare(task, loaded, 512, n // 2, n // 2, seed)
    return [pair.text for pair in (*found.train, *found.test)]


@pytest.mark.parametrize("task", FAMILIES)
def test_a_search_for_fillers_of_equal_length_loses_nothing_but_repeats(task, loaded):
    fillable(task, loaded)
    found = prepare(task, loaded, 512, 50, 50)
    assert (len(found.train), len(found.test)) == (50, 50)
    assert {loss for loss, count in found.lost.items() if count} <= {Loss.DUPLICATE}


@pytest.mark.parametrize("task", FAMILIES)
def test_the_seed_decides(task, loaded):
    first = prompts(task, loaded, 40)
    assert prompts(task, loaded, 40) == first
    assert prompts(task, loaded, 40, seed=1) != first


@pytest.mark.parametrize("task", sorted({*FAMILIES} - {"greater_than"}))
def test_either_prompt_is_the_clean_one_equally_often(task, loaded):
    answers = Counter(tuple(sorted(p[2:])) for p in prompts(task, loaded))
    clean = Counter(p.clean_answer for p in prompts(task, loaded))
    patch = Counter(p.patch_answer for p in prompts(task, loaded))
    assert sum(answers.values()) == 200
    assert sum(abs(clean[answer] - patch[answer]) for answer in clean | patch) <= 4  # cut at 100


def test_the_receiver_is_the_name_that_does_not_give_in_both_orders(loaded):
    first, orders = 0, Counter()
    for prompt in prompts("indirect_object", loaded):
        words = prompt.clean_prefix.replace(",", "").replace(".", "").split()
        receiver, giver = (answer.strip() for answer in prompt[2:])
        assert words.count(receiver) == 1
        assert words.count(giver) == 2
        first += words.index(receiver) < words.index(giver)
        orders[tuple(word for word in words if word in lexicon.NAMES)[:2]] += 1
        changed = [
            (one, other)
            for one, other in zip(
                words, prompt.patch_prefix.replace(",", "").replace(".", "").split()
            )
            if one != other
        ]
        assert changed == [(giver, receiver)]
    assert first == 100
    assert orders == {(other, one): count for (one, other), count in orders.items()}


def test_of_the_two_years_only_one_is_later_and_both_are_after_the_corrupted_one(loaded):
    for prompt in prompts("greater_than", loaded):
        first, corrupted = (int(text.split()[6]) for text in prompt[:2])
        century = prompt.clean_prefix.split()[-1]
        later, earlier = (int(century + answer) for answer in prompt[2:])
        assert corrupted < earlier <= first < later
        assert corrupted == int(century + "01")


@pytest.mark.parametrize("task", [task for task in FAMILIES if task.startswith("agreement")])
def test_the_verb_agrees_with_its_subject(task, loaded):
    attractors = Counter()
    for prompt in prompts(task, loaded):
        nouns = [
            [word for word in text.split() if word in SINGULAR | PLURAL] for text in prompt[:2]
        ]
        subject = 1 if task == "agreement_within_relative_clause" else 0
        for words, answer in zip(nouns, prompt[2:]):
            numbers = [word in PLURAL for word in words]
            assert numbers[subject] == (answer.strip() in PLURAL)
        differing = [place for place, two in enumerate(zip(*nouns)) if len({*two}) > 1]
        assert differing == [subject]
        attractors[numbers[-1] == numbers[0]] += 1
    if task != "agreement_simple":  # the other noun has the same number or not
        assert attractors[True] == 100


def test_she_is_a_woman_and_he_is_a_man(loaded):
    first = 0
    for prompt in prompts("pronoun_gender", loaded):
        for text, answer in zip(prompt[:2], prompt[2:]):
            words = {*text.strip(".").split()}
            female = answer == " She"
            assert bool(words & {*lexicon.FEMALE}) == bool(words & {*lexicon.WOMEN}) == female
            assert bool(words & {*lexicon.MALE}) == bool(words & {*lexicon.MEN}) != female
        first += prompt.clean_prefix.split()[0] in lexicon.NAMES
    assert first == pytest.approx(100, abs=10)


def test_the_word_that_followed_before_follows_again(loaded):
    for prompt in prompts("induction", loaded):
        for text, answer in zip(prompt[:2], prompt[2:]):
            words = text.split()
            assert len({*words[:8]}) == 8
            assert words[8:] == words[: len(words) - 8]
            assert words[words.index(words[-1]) + 1] == answer.strip()
        assert sorted(prompt.clean_prefix) == sorted(prompt.patch_prefix)


@pytest.mark.parametrize(
    ("task", "marks"), [("closing_bracket", lexicon.BRACKETS), ("closing_quote", lexicon.QUOTES)]
)
def test_what_was_opened_is_closed(task, marks, loaded):
    closing = dict(marks)
    seen = Counter()
    for prompt in prompts(task, loaded):
        opened = []
        for text, answer in zip(prompt[:2], prompt[2:]):
            (mark,) = (mark for mark in re.findall(r"[^\w\s]+", text))
            assert closing[mark] == answer
            opened.append(mark)
        rest = [text.replace(mark, "") for text, mark in zip(prompt[:2], opened)]
        assert rest[0] == rest[1]
        seen[opened[0]] += 1
    assert len(seen) >= 2


def test_a_model_without_brackets_is_not_asked_for_them():
    found = prepare("closing_bracket", character_tokenizer(string.ascii_letters + " "), 99, 9, 9)
    assert found.n_usable == 0
    assert found.summary().endswith("known to the tokenizer, fill it.")
