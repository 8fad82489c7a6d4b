"""Held-out prompts for the tasks that toy English teaches."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from clustersae.corpora import toy_english
from clustersae.corpora.toy_lexicon import BE, HAVE, NAMES, VERBS, YEARS
from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted


@dataclass(frozen=True)
class Prompt:
    """A prompt (words, without BOS), the words that answer it and those that do not."""

    words: tuple[str, ...]
    answers: tuple[str, ...]
    wrong: tuple[str, ...]


_OTHER_NUMBER = {
    form: other
    for singular, plural, *_ in (*VERBS, BE, HAVE)
    for form, other in ((singular, plural), (plural, singular))
}


def prompts(
    task: str, n_prompts: int, seed: int, split: str = "test", or_fewer: bool = False
) -> list[Prompt]:
    """Distinct prompts of a task that no training sentence answers.

    Tasks: `indirect_object` (wrong: every other name), `agreement` (wrong: the same verb in the
    other number; with and without a distractor between subject and verb) and
    `greater_than` (answers: the later years; wrong: the given and all earlier years).

    Args:
        or_fewer: take what there is.

    Raises:
        InputError: the split has fewer distinct prompts.
    """
    maker = getattr(toy_english, task)
    found: dict[tuple[str, ...], Prompt] = {}
    for sentence in islice(toy_english.sentences(split, seed, maker), 10 * n_prompts):
        words = tuple(sentence.prompt)
        found.setdefault(words, Prompt(words, *_options(task, sentence)))
        if len(found) == n_prompts:
            return list(found.values())
    if or_fewer:
        return list(found.values())
    raise InputError(
        f"Toy English has about {counted(len(found), f'{task} prompt')} in its {split} split, not"
        f" {n_prompts}: ask for fewer."
    )


def _options(task: str, sentence: toy_english.Sentence) -> Iterator[tuple[str, ...]]:
    assert sentence.prompt_length is not None, "every task asks for a word"
    answer = sentence.words[sentence.prompt_length]
    if task == "indirect_object":
        yield (answer,)
        yield tuple(name for name in NAMES if name != answer)
    elif task == "agreement":
        yield (answer,)
        yield (_OTHER_NUMBER[answer],)
    else:
        first = YEARS.index(sentence.value("first_year"))
        yield YEARS[first + 1 :]
        yield YEARS[: first + 1]
