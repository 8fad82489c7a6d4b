"""Contexts as text, with tokens marked, and the examples that a latent is recognised among."""

import random
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from clustersae.features.judge.contexts import Context

#: A token is marked if the latent is at least this active on it, relative to the window's peak.
MARKED = 0.3
OPEN, CLOSE = "<<", ">>"


class Example(NamedTuple):
    """A passage, and whether "active" is the right answer."""

    text: str
    active: bool


def separator_of(contexts: Iterable[Context]) -> str:
    """What to write between tokens: nothing if they bring their own spaces, else a space."""
    tokens = (token for context in contexts for token in context.tokens)
    return "" if any(" " in token for token in tokens) else " "


def passage(context: Context, separator: str, marked: Collection[int] = ()) -> str:
    """The text of a context on one line, with runs of the tokens `marked` set apart."""
    runs = []
    for is_marked, places in groupby(range(len(context.tokens)), key=lambda place: place in marked):
        text = separator.join(context.tokens[place] for place in places)
        runs.append(f"{OPEN}{text}{CLOSE}" if is_marked else text)
    return separator.join(runs).replace("\n", "\\n")


def active_tokens(context: Context) -> list[int]:
    """The places that a context is marked at."""
    least = MARKED * max(context.activations)
    return [place for place, value in enumerate(context.activations) if 0 < value >= least]


def silent_tokens(context: Context, generator: random.Random) -> list[int]:
    """As many places as `active_tokens`, or fewer, at random among those of no activation."""
    silent = [place for place, value in enumerate(context.activations) if value == 0]
    return generator.sample(silent, min(len(silent), len(active_tokens(context))))


def explanation_passages(shown: Sequence[Context], separator: str) -> list[str]:
    """What a latent is explained by."""
    return [passage(context, separator, active_tokens(context)) for context in shown]


def detection(
    held_out: Sequence[Context],
    counterexamples: Sequence[Context],
    separator: str,
    generator: random.Random,
) -> list[Example]:
    """Passages in which the latent is active, among as many in which it is not; shuffled."""
    n = min(len(held_out), len(counterexamples))
    examples = [Example(passage(context, separator), True) for context in held_out[:n]]
    examples += [Example(passage(context, separator), False) for context in counterexamples[:n]]
    generator.shuffle(examples)
    return examples


def fuzzing(
    held_out: Sequence[Context], separator: str, generator: random.Random
) -> list[list[Example]]:
    """Two sets of passages in which the latent is active, half of them marked on silent tokens.

    Every passage is marked rightly in one set and wrongly in the other, so that neither the
    passages nor a comparison of the two marks tells the answer.
    """
    right, wrong = [], []
    for context in held_out:
        text = passage(context, separator, active_tokens(context))
        right.append(Example(text, True))
        silent = silent_tokens(context, generator)
        wrong.append(Example(passage(context, separator, silent), False) if silent else None)
    sets = []
    for first in (0, 1):
        chosen = [
            right[place] if place % 2 == first else wrong[place] for place in range(len(held_out))
        ]
        examples = [example for example in chosen if example is not None]
        generator.shuffle(examples)
        sets.append(examples)
    return sets
