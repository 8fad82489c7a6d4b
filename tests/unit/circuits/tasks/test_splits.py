import random
import string

import pytest

from clustersae.circuits.tasks.pairs import PairMaker, TokenPair
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.circuits.tasks.splits import linked, split
from clustersae.corpora.tokenizer import character_tokenizer

TEXT = TaskPrompt("", "", "", "")


def pair(clean: int, patch: int, answer: int = 1) -> TokenPair:
    return TokenPair((0, clean), (0, patch), answer, 0, TEXT)


def random_pairs(seed: int) -> list[TokenPair]:
    """Pairs that share prompts in all ways: mirrored, in chains, with several answers."""
    generator = random.Random(seed)
    numbers = [generator.sample(range(60), 2) for _ in range(40)]
    return list(dict.fromkeys(pair(*two, generator.choice((1, 2))) for two in numbers))


@pytest.mark.parametrize("seed", range(20))
def test_no_test_prompt_occurs_in_training(seed):
    pairs = random_pairs(seed)
    train, test = split(pairs, 15, 10)
    assert 0 < len(train) <= 15
    assert 0 < len(test) <= 10
    assert len({*train, *test}) == len(train) + len(test)
    assert {*train, *test} <= {*pairs}
    for one, other in ((train, test), (test, train)):
        assert not {p.clean for p in one} & {prompt for p in other for prompt in (p.clean, p.patch)}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_pairs_does_not_matter(seed):
    pairs = random_pairs(seed)
    train, test = split(pairs, 15, 10)
    random.Random(1).shuffle(pairs)
    again = split(pairs, 15, 10)
    assert [{*one} for one in again] == [{*train}, {*test}]


def test_a_prompt_stays_in_one_place_whatever_moves_into_it_from_its_answers():
    """In characters, "The man ha|s" and "The man |is" are the same prompt, "The man"."""
    loaded = character_tokenizer(string.ascii_letters + " ")
    subjects = ("man", "cat", "dog", "fox", "boy", "cow")
    answers = ((" is", " are"), (" has", " have"), (" was", " were"))
    prompts = [TaskPrompt(f"The {s}", f"Two {s}", *two) for s in subjects for two in answers]
    pairs = PairMaker(loaded, 50).make(prompts)
    assert linked(pairs) == [number for number in range(6) for _ in answers]
    train, test = split(pairs, 9, 9)
    assert (len(train), len(test)) == (9, 9)
    assert not {p.text.clean_prefix for p in train} & {p.text.clean_prefix for p in test}


def test_exactly_as_many_as_asked_for_where_there_are_enough():
    pairs = [p for n in range(2, 400, 2) for p in (pair(n, n + 1), pair(n + 1, n))]
    train, test = split(pairs, 200, 100)
    assert (len(train), len(test)) == (200, 100)


def test_too_few_are_shared_out_in_proportion():
    train, test = split([pair(n, 1000) for n in range(30)], 200, 100)
    assert (len(train), len(test)) == (20, 10)


def test_a_corrupted_prompt_that_all_share_ties_nothing_together():
    train, test = split([pair(n, 1000) for n in range(4)], 2, 2)
    assert (len(train), len(test)) == (2, 2)


def test_pairs_that_all_hang_together_are_for_training():
    chain = [pair(n, n + 1) for n in range(10)]
    assert [len(one) for one in split(chain, 20, 20)] == [10, 0]
    # One more pair, which stands alone, is the one to test on.
    assert split([*chain, pair(100, 101)], 20, 20)[1] == [pair(100, 101)]


def test_a_group_too_large_for_test_is_cut_rather_than_test_left_empty():
    chains = [
        [pair(start + n, start + n + 1) for n in range(size)] for start, size in ((0, 9), (50, 8))
    ]
    train, test = split(chains[0] + chains[1], 20, 4)
    assert {*train} == {*chains[0]}
    assert len(test) == 4
    assert {*test} < {*chains[1]}


def test_training_gets_a_pair_before_test_does():
    assert [len(one) for one in split([pair(1, 2)], 1, 100)] == [1, 0]
    assert split([], 1, 100) == ([], [])


def test_mirrored_pairs_hang_together_and_shared_corrupted_prompts_tie_nothing():
    a, b, c, d, shared = range(5)
    several = [pair(a, b), pair(c, shared), pair(b, a), pair(d, shared)]
    assert linked([*several, pair(a, c)]) == [0, 0, 0, 1, 0]
    assert linked(several) == [0, 1, 0, 2]
    assert linked([]) == []
