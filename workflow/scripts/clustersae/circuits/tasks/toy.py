"""Toy English's own tasks as pairs of prompts: held out from what its models were trained on."""

from collections.abc import Callable

import numpy as np

from clustersae.circuits.tasks.families import later_and_earlier
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.corpora.toy_lexicon import BE, FIRST_YEARS, HAVE, NOUNS, VERBS
from clustersae.corpora.toy_tasks import Prompt, prompts
from clustersae.experiment.tasks import TOY_PREFIX
from clustersae.runtime.choices import Chooser

_NOUN_FORMS = {noun for forms in NOUNS for noun in forms}
_OTHER_NUMBER = {
    form: other
    for singular, plural, *_ in (*NOUNS, *VERBS, BE, HAVE)
    for form, other in ((singular, plural), (plural, singular))
}


def toy_prompts(task: str, n_prompts: int, seed: int) -> list[TaskPrompt]:
    """About `n_prompts` distinct prompts of a task in TOY_TASKS, from toy English's test split.

    Fewer where toy English has no more of this kind. No training sentence answers a clean prompt
    (a corrupted one may have been seen).
    """
    choose = Chooser(np.random.default_rng(seed))
    name = task.removeprefix(TOY_PREFIX)
    questions = prompts(name, n_prompts, seed, or_fewer=True)
    pairs = (TOY_TASKS[task](question, choose) for question in questions)
    return [pair for pair in pairs if pair is not None]


def _indirect_object(question: Prompt, choose: Chooser) -> TaskPrompt:
    """Corrupted: the receiver gives."""
    words, receiver = list(question.words), question.answers[0]
    giver = words[3] if words[1] == receiver else words[1]
    words[len(words) - 1 - words[::-1].index(giver)] = receiver
    return _pair(question, words, receiver, giver)


def _agreement(question: Prompt, choose: Chooser) -> TaskPrompt:
    """Corrupted: the subject, and a verb in its relative clause, in the other number."""
    words = list(question.words)
    subject = next(place for place, word in enumerate(words) if word in _NOUN_FORMS)
    words[subject] = _OTHER_NUMBER[words[subject]]
    if words[subject + 1 : subject + 2] == ["that"] and words[subject + 2] in _OTHER_NUMBER:
        words[subject + 2] = _OTHER_NUMBER[words[subject + 2]]
    return _pair(question, words, question.answers[0], question.wrong[0])


def _greater_than(question: Prompt, choose: Chooser) -> TaskPrompt | None:
    """Corrupted: the earliest first year there is; None for a prompt that begins in it."""
    words = list(question.words)
    place = words.index("from") + 2
    first, words[place] = words[place], FIRST_YEARS[0]
    if first == FIRST_YEARS[0]:
        return None
    return _pair(question, words, *later_and_earlier(choose, first, FIRST_YEARS[0]))


def _pair(question: Prompt, patch: list[str], answer: str, wrong: str) -> TaskPrompt:
    return TaskPrompt(" ".join(question.words), " ".join(patch), f" {answer}", f" {wrong}")


TOY_TASKS: dict[str, Callable[[Prompt, Chooser], TaskPrompt | None]] = {
    f"{TOY_PREFIX}indirect_object": _indirect_object,
    f"{TOY_PREFIX}agreement": _agreement,
    f"{TOY_PREFIX}greater_than": _greater_than,
}
