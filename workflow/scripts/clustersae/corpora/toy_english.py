"""Toy English: sentences with known generating factors, from about 220 words.

A row of the corpus is one sentence. Its family says what the sentence exercises: indirect-object
identification, greater-than, subject-verb agreement (simple, across a prepositional phrase, across
a relative clause), repeated lists of names, the gender of pronouns, or nothing in particular.

Held-out sentences are held out by construction. A sentence belongs to exactly one split, chosen
by a hash of its prompt (the words before the word that a task asks for; the whole sentence where
there is none), never by the seed or the number of rows. So no validation or test sentence is a
training sentence, and no training sentence answers a held-out prompt. Within one split sentences
may repeat, and in families with few prompts they do: simple agreement has 336 prompts, greater-than
4,656, indirect object over 400,000.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from clustersae.corpora.tokens import SPLITS
from clustersae.corpora.toy_lexicon import (
    ADJECTIVES,
    BE,
    BE_PAST,
    CENTURIES,
    EVENTS,
    FIRST_YEARS,
    GENDER,
    GIVING,
    HAVE,
    NAMES,
    NOUNS,
    NUMBERS,
    OBJECTS,
    PLACES,
    PREPOSITIONS,
    PRONOUN,
    VERBS,
    YEARS,
)
from clustersae.runtime.choices import Chooser

HELD_OUT_PERCENT = 10  # of all prompts, for each of validation and test


@dataclass(frozen=True)
class Factor:
    """A generating factor of a row: known from `position` on (0 is BOS), not before."""

    position: int
    name: str
    value: str


@dataclass
class Sentence:
    """The words of a sentence, without BOS, and the factors that generated it."""

    family: str
    words: list[str] = field(default_factory=list)
    factors: list[Factor] = field(default_factory=list)
    prompt_length: int | None = None  # words before the answer of the family's task

    def add(self, text: str, **factors: str) -> "Sentence":
        """Append words; `factors` become known with the last of them."""
        self.words.extend(text.split())
        self.factors.extend(Factor(len(self.words), *factor) for factor in factors.items())
        return self

    def ask(self) -> "Sentence":
        """End the prompt here: the next word is the answer."""
        self.prompt_length = len(self.words)
        return self

    def value(self, name: str) -> str | None:
        """The value of a factor; None where the sentence does not have it."""
        return next((factor.value for factor in self.factors if factor.name == name), None)

    @property
    def prompt(self) -> list[str]:
        """The words before the answer; all words where the family asks nothing."""
        return self.words[: self.prompt_length]

    @property
    def split(self) -> str:
        """The one split that may contain this sentence."""
        digest = hashlib.blake2b(" ".join(self.prompt).encode(), digest_size=8).digest()
        percent = int.from_bytes(digest, "big") % 100
        if percent < HELD_OUT_PERCENT:
            return "test"
        return "validation" if percent < 2 * HELD_OUT_PERCENT else "train"


def indirect_object(choose: Chooser) -> Sentence:
    """When Mary and John went to the shop , John gave a drink to | Mary ."""
    first, second = choose.distinct(NAMES, 2)
    subject = choose.one((first, second))
    receiver = second if subject == first else first
    sentence = Sentence("indirect_object").add(choose.one(("When", "After", "Then")))
    opening = sentence.words[0]
    sentence.add(first, first_name=first).add("and").add(second, second_name=second)
    place = choose.one(PLACES)
    sentence.add(choose.one(("went to the", "were at the"))).add(place, place=place)
    sentence.add(", and" if opening == "Then" else ",")
    order = "first_is_subject" if subject == first else "second_is_subject"
    sentence.add(subject, subject=subject, name_order=order)
    given = choose.one(OBJECTS)
    sentence.add(choose.one(GIVING)).add("a").add(given, object=given)
    return sentence.add("to").ask().add(receiver, receiver=receiver).add(".")


def greater_than(choose: Chooser) -> Sentence:
    """The war lasted from 17 32 to 17 | 54 ."""
    event, century, first = choose.one(EVENTS), choose.one(CENTURIES), choose.one(FIRST_YEARS)
    last = choose.one(YEARS[int(first) + 1 :])
    sentence = Sentence("greater_than").add("The").add(event, event=event).add("lasted from")
    sentence.add(century, century=century).add(first, first_year=first).add(f"to {century}")
    return sentence.ask().add(last, last_year=last).add(".")


def agreement(choose: Chooser) -> Sentence:
    """The big dogs near the cat | see the farmer .   (also without or with another distractor)"""
    structure = choose.one(("simple", "prepositional_phrase", "relative_clause"))
    sentence = Sentence(f"agreement_{structure}").add(choose.one(("The", "Today the")))
    number = _noun_phrase(sentence, choose, "subject")
    if structure == "prepositional_phrase":
        sentence.add(choose.one(PREPOSITIONS)).add("the")
        _noun(sentence, choose, "distractor")
    elif structure == "relative_clause":
        if choose.one((True, False)):  # the dog that sees the cats
            sentence.add("that").add(choose.one(VERBS)[number]).add("the")
            _noun(sentence, choose, "distractor")
        else:  # the dog that the cats see
            sentence.add("that the")
            distractor = _noun(sentence, choose, "distractor")
            sentence.add(choose.one(VERBS)[distractor])
    return _predicate(sentence.ask(), choose, number)


def name_list(choose: Chooser) -> Sentence:
    """Mary , John , Tom , Mary | , John , Tom ."""
    names = choose.distinct(NAMES, choose.one((3, 4)))
    separator = choose.one((" ", " , "))
    sentence = Sentence("name_list").add(separator.join([*names, names[0]]))
    return sentence.ask().add(separator.join(["", *names[1:]])).add(".")


def pronoun(choose: Chooser) -> Sentence:
    """Mary went to the shop because | she liked the book ."""
    name, place, thing = choose.one(NAMES), choose.one(PLACES), choose.one(OBJECTS)
    sentence = Sentence("pronoun").add(name, subject=name, gender=GENDER[name])
    sentence.add(choose.one(("went to the", "was at the"))).add(place, place=place)
    sentence.add("because").ask().add(PRONOUN[GENDER[name]]).add(choose.one(VERBS)[2])
    return sentence.add("the").add(thing, object=thing).add(".")


def past_event(choose: Chooser) -> Sentence:
    """In 17 32 the old dogs followed the cat ."""
    sentence = Sentence("past_event")
    if choose.one((True, False)):
        sentence.add("Yesterday", tense="past").add("the")
    else:
        century, year = choose.one(CENTURIES), choose.one(FIRST_YEARS)
        sentence.add("In").add(century, century=century).add(year, first_year=year).add("the")
    number = _noun_phrase(sentence, choose, "subject")
    if choose.one((True, False)):
        return sentence.add(BE_PAST[number]).add(choose.one(ADJECTIVES)).add(".")
    sentence.add(choose.one(VERBS)[2]).add("the")
    _noun(sentence, choose, "object")
    return sentence.add(".")


def gift(choose: Chooser) -> Sentence:
    """Mary gave a drink to John .   (or: Mary and John went to the shop .)"""
    first, second = choose.distinct(NAMES, 2)
    sentence = Sentence("gift").add(first, first_name=first)
    if choose.one((True, False)):
        given = choose.one(OBJECTS)
        sentence.add(choose.one(GIVING)).add("a").add(given, object=given)
        return sentence.add("to").add(second, second_name=second).add(".")
    place = choose.one(PLACES)
    sentence.add("and").add(second, second_name=second)
    return sentence.add(choose.one(("went to the", "were at the"))).add(place, place=place).add(".")


def _noun(sentence: Sentence, choose: Chooser, role: str) -> int:
    """Add a noun; returns 0 for singular, 1 for plural."""
    number = choose.one((0, 1))
    noun = choose.one(NOUNS)
    sentence.add(noun[number], **{role: noun[0], f"{role}_number": NUMBERS[number]})
    return number


def _noun_phrase(sentence: Sentence, choose: Chooser, role: str) -> int:
    """Add an adjective, or none, and a noun."""
    sentence.add(choose.one(("", *ADJECTIVES)))
    return _noun(sentence, choose, role)


def _predicate(sentence: Sentence, choose: Chooser, number: int) -> Sentence:
    """Add a present-tense verb in agreement with `number`, and what follows it."""
    verb = choose.one((*VERBS, BE, HAVE))
    sentence.add(verb[number], tense="present")
    if verb is BE:
        return sentence.add(choose.one(ADJECTIVES)).add(".")
    if verb is HAVE:
        return sentence.add("a").add(choose.one(OBJECTS)).add(".")
    sentence.add("the")
    _noun(sentence, choose, "object")
    return sentence.add(".")


#: The grammar: how to make a sentence, and its share of the corpus in percent.
GRAMMAR: dict[Callable[[Chooser], Sentence], int] = {
    indirect_object: 30,
    greater_than: 15,
    agreement: 25,
    name_list: 15,
    pronoun: 5,
    past_event: 5,
    gift: 5,
}
_MAKERS = tuple(maker for maker, percent in GRAMMAR.items() for _ in range(percent))

#: Words of the longest sentence, plus BOS.
MAX_ROW_LENGTH = 18


def sentences(split: str, seed: int, maker: Callable | None = None) -> Iterator[Sentence]:
    """An endless stream of sentences of `split`: a pure function of the arguments.

    Args:
        maker: make sentences of this kind only, e.g. `indirect_object`; otherwise the whole
            grammar, mixed.
    """
    choose = Chooser(np.random.default_rng([seed, SPLITS.index(split)]))
    while True:
        sentence = (maker or choose.one(_MAKERS))(choose)
        if sentence.split == split:
            yield sentence


def take(split: str, n_rows: int, seed: int) -> list[Sentence]:
    """The first `n_rows` sentences of a split; more rows extend the same list."""
    return list(islice(sentences(split, seed), n_rows))
