"""Generated tasks: balanced templates, filled with words of equal token length.

A family makes a block of prompts at a time: one choice of words, in every order of names and
with either prompt as the clean one, so that no answer can be told from its place or its form. A
block is empty where no filler of the right length was found.
"""

from collections.abc import Callable

from clustersae.circuits.tasks.fillers import Fillers
from clustersae.circuits.tasks.lexicon import (
    ADJECTIVES,
    ANSWER_VERBS,
    BRACKETS,
    CENTURIES,
    EVENTS,
    FEMALE,
    MALE,
    MEN,
    NAMES,
    NOUNS,
    OBJECTS,
    PLACES,
    PREPOSITIONS,
    QUOTES,
    RANDOM_WORDS,
    THINGS,
    TRAITS,
    VERBS,
    WOMEN,
    YEARS,
)
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.runtime.choices import Chooser

Family = Callable[[Chooser, Fillers], list[TaskPrompt]]

_INDIRECT_OBJECT = (
    "When {} and {} went to the {place}, {giver} gave a {object} to",
    "After {} and {} came to the {place}, {giver} handed a {object} to",
    "Then {} and {} were at the {place}, and {giver} gave a {object} to",
    "{} and {} went to the {place}. {giver} gave a {object} to",
)
_NAME_FIRST = ("{name} was a {trait} {noun}.", "{name} is a {trait} {noun}.")
_NOUN_FIRST = (
    "Once there was a {trait} {noun} named {name}.",
    "There was a {trait} {noun} named {name}.",
)
_ENCLOSED = (
    "The {noun} {mark}the {trait} {other}",
    "The {noun} and the {other} {mark}{trait}",
    "The {trait} {noun} {mark}near the {other}",
)
N_RANDOM_WORDS = 8  # of an induction prompt, before they repeat


def indirect_object(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """When Mary and John went to the shop, John gave a drink to | Mary

    Corrupted: Mary gives. Both orders of the names, and either name as the giver.
    """
    names = [name for name in fillers.known(NAMES) if fillers.alike(name, NAMES)]
    if not names:
        return []
    one = choose.one(names)
    other = choose.one(fillers.alike(one, NAMES))
    template = choose.one(_INDIRECT_OBJECT)
    words = {
        "place": choose.one(fillers.preferred(PLACES)),
        "object": choose.one(fillers.preferred(OBJECTS)),
    }
    prompts = []
    for order in ((one, other), (other, one)):
        clean, patch = (template.format(*order, giver=giver, **words) for giver in (one, other))
        prompts.append(TaskPrompt(clean, patch, f" {other}", f" {one}"))
    return _both_ways(prompts)


def greater_than(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The war lasted from the year 1732 to the year 17 | 54

    Corrupted: from the year 1701 (Hanna et al. 2023, section 2). The wrong answer is a year that
    the corrupted prompt allows, so of the two answers the prompt alone rules one out.
    """
    event, century = choose.one(fillers.preferred(EVENTS)), choose.one(CENTURIES)
    earliest = f"{century}01"
    alike = fillers.alike(earliest, tuple(century + year for year in YEARS[2:99]))
    if not alike:
        return []
    first = choose.one(alike)
    answer, wrong = later_and_earlier(choose, first[2:], "01")
    clean, patch = (
        f"The {event} lasted from the year {year} to the year {century}"
        for year in (first, earliest)
    )
    return [TaskPrompt(clean, patch, answer, wrong)]


def later_and_earlier(choose: Chooser, first: str, corrupted: str) -> tuple[str, str]:
    """A year after `first`, and one up to it that is later than the `corrupted` first year."""
    later = choose.one(YEARS[int(first) + 1 :])
    return later, choose.one(YEARS[int(corrupted) + 1 : int(first) + 1])


def agreement_simple(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The big dog | is   (corrupted: dogs)"""
    adjective = choose.one(("", *(f" {adjective}" for adjective in fillers.known(ADJECTIVES))))
    return _agreement(choose, fillers, [f"The{adjective} {{noun}}"])


def agreement_prepositional_phrase(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The dog near the cars | is   (corrupted: dogs). The other noun has either number."""
    other = choose.one(fillers.preferred(THINGS + NOUNS))
    preposition = choose.one(fillers.preferred(PREPOSITIONS))
    templates = [f"The {{noun}} {preposition} the {form}" for form in other]
    return _agreement(choose, fillers, templates)


def agreement_relative_clause(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The dog that the cats like | is   (corrupted: dogs). The other noun has either number."""
    other, verb = choose.one(fillers.preferred(NOUNS)), choose.one(fillers.preferred(VERBS))
    templates = [f"The {{noun}} that the {noun} {form}" for noun, form in zip(other, verb)]
    return _agreement(choose, fillers, templates)


def agreement_within_relative_clause(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The dogs that the cat | has   (corrupted: cats). The other noun has either number."""
    templates = [f"The {noun} that the {{noun}}" for noun in choose.one(fillers.preferred(NOUNS))]
    return _agreement(choose, fillers, templates)


def _agreement(choose: Chooser, fillers: Fillers, templates: list[str]) -> list[TaskPrompt]:
    """Fill {noun} with a singular, corrupted to a plural, and the other way round."""
    nouns, verbs = fillers.matched(*zip(*NOUNS)), fillers.told_apart(ANSWER_VERBS)
    if not nouns or not verbs:
        return []
    forms = choose.one(nouns)
    answers = [f" {verb}" for verb in choose.one(verbs)]
    return _both_ways(
        [
            TaskPrompt(*(template.format(noun=noun) for noun in forms), *answers)
            for template in templates
        ]
    )


def pronoun_gender(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """Lily was a little girl. | She   (corrupted: Jack was a little boy.)

    The name comes first or the noun does.
    """
    names, nouns = fillers.matched(FEMALE, MALE), fillers.matched(WOMEN, MEN)
    if not names or not nouns:
        return []
    people = list(zip(choose.one(names), choose.one(nouns)))
    trait = choose.one(fillers.preferred(TRAITS))
    prompts = []
    for template in (choose.one(_NAME_FIRST), choose.one(_NOUN_FIRST)):
        clean, patch = (template.format(name=name, noun=noun, trait=trait) for name, noun in people)
        prompts.append(TaskPrompt(clean, patch, " She", " He"))
    return _both_ways(prompts)


def induction(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """tree king book Mary car tree king | book   (corrupted: tree king Mary book car ...)

    Random words, and their beginning once more (Elhage et al. 2021; Olsson et al. 2022): what
    followed the last word before? Corrupted: the word that followed and its successor have
    changed places.
    """
    known = fillers.known(RANDOM_WORDS)
    if len(known) < N_RANDOM_WORDS:
        return []
    words = choose.distinct(known, N_RANDOM_WORDS)
    place = choose.one(range(1, N_RANDOM_WORDS - 1))
    rest = {*words[:place], *words[place + 2 :]}
    successors = [word for word in fillers.alike(words[place], known) if word not in rest]
    if not successors:
        return []
    couple = [words[place], choose.one(successors)]
    texts = [
        " ".join((*words[:place], *order, *words[place + 2 :], *words[:place]))
        for order in (couple, couple[::-1])
    ]
    return _both_ways([TaskPrompt(*texts, *(f" {word}" for word in couple))])


def closing_bracket(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The dog (the big horse | )   (corrupted: [the big horse)"""
    return _closing(choose, fillers, BRACKETS)


def closing_quote(choose: Chooser, fillers: Fillers) -> list[TaskPrompt]:
    """The dog "the big horse | "   (corrupted: 'the big horse)"""
    return _closing(choose, fillers, QUOTES)


def _closing(
    choose: Chooser, fillers: Fillers, marks: tuple[tuple[str, str], ...]
) -> list[TaskPrompt]:
    """A phrase behind an opening mark: which one closes it?"""
    closing = {opens: closes for opens, closes in marks if fillers.size(closes)}
    openers = tuple(closing)
    usable = [mark for mark in fillers.known(openers) if fillers.alike(mark, openers)]
    if not usable:
        return []
    one = choose.one(usable)
    couple = (one, choose.one(fillers.alike(one, openers)))
    template = choose.one(_ENCLOSED)
    nouns = tuple(noun for noun, _ in NOUNS)
    words = {
        "noun": choose.one(fillers.preferred(nouns)),
        "other": choose.one(fillers.preferred(nouns)),
        "trait": choose.one(fillers.preferred(ADJECTIVES)),
    }
    texts = [template.format(mark=mark, **words) for mark in couple]
    return _both_ways([TaskPrompt(*texts, *(closing[mark] for mark in couple))])


def _both_ways(prompts: list[TaskPrompt]) -> list[TaskPrompt]:
    return [either for prompt in prompts for either in (prompt, prompt.mirrored)]


FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        indirect_object,
        greater_than,
        agreement_simple,
        agreement_prepositional_phrase,
        agreement_relative_clause,
        agreement_within_relative_clause,
        pronoun_gender,
        induction,
        closing_bracket,
        closing_quote,
    )
}
