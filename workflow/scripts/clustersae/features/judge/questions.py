"""What a judge is asked, and how its replies are read."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clustersae.features.judge.examples import CLOSE, OPEN

#: Characters of the longest explanation taken: one sentence was asked for.
LONGEST = 1000

_SYSTEM = (
    "You study the units of a neural network that reads text. A unit is active on some tokens and"
    " silent on all others. Follow the format asked for exactly."
)
_HEAD = "Explanation:"


class Malformed(Exception):
    """A reply that does not answer the question."""


class Question(NamedTuple):
    """Messages to a judge, and a reader of replies, which raises Malformed."""

    messages: list[dict[str, str]]
    read: Callable[[str], Any]


def explain(passages: Sequence[str]) -> Question:
    """What do the marked tokens have in common? Read as a line of text."""
    text = (
        f"In each of these passages one unit is active on the tokens between {OPEN} and {CLOSE}."
        " Say in one sentence on what it is active: the tokens themselves, what comes before them,"
        " or what the text is about. Do not mention the marks or single passages.\n\n"
        f"{_numbered(passages)}\n\n"
        f"End your reply with one line that begins with {_HEAD}"
    )
    return Question(_messages(text), read_explanation)


def detect(explanation: str, passages: Sequence[str]) -> Question:
    """In which passages is the unit active? Read as one bool per passage."""
    text = (
        f"A unit has been explained so:\n{explanation}\n\n"
        "For each of these passages, decide whether the unit is active on any of its tokens.\n\n"
        f"{_numbered(passages)}\n\n{_verdicts_wanted(len(passages))}"
    )
    return Question(_messages(text), lambda reply: read_verdicts(reply, len(passages)))


def fuzz(explanation: str, passages: Sequence[str]) -> Question:
    """In which passages is the unit active on the marked tokens? Read as one bool per passage."""
    text = (
        f"A unit has been explained so:\n{explanation}\n\n"
        f"In each of these passages some tokens are marked by {OPEN} and {CLOSE}. Decide for each"
        " whether the unit is active on the marked tokens; in some, other tokens were marked.\n\n"
        f"{_numbered(passages)}\n\n{_verdicts_wanted(len(passages))}"
    )
    return Question(_messages(text), lambda reply: read_verdicts(reply, len(passages)))


def read_explanation(reply: str) -> str:
    """What follows the last `Explanation:`, on one line."""
    _, head, text = reply.rpartition(_HEAD)
    # Models like to set the heading in bold.
    text = "".join(letter if letter.isprintable() else " " for letter in text).strip(" *")
    if not head or not text or len(text) > LONGEST:
        raise Malformed("no line of explanation")
    return " ".join(text.split())


def read_verdicts(reply: str, n: int) -> list[bool]:
    """The last list of `n` zeros and ones: what comes before may be thinking aloud."""
    for found in reversed(re.findall(r"\[[^\[\]]*\]", reply)):
        try:
            values = json.loads(found)
        except ValueError:
            continue
        if len(values) == n and all(value in (0, 1) for value in values):
            return [bool(value) for value in values]
    raise Malformed(f"no list of {n} zeros and ones")


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}]


def _numbered(passages: Sequence[str]) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(passages, 1))


def _verdicts_wanted(n: int) -> str:
    return (
        f"End your reply with a JSON list of {n} numbers in the order of the passages, 1 for active"
        " and 0 for not, such as [1, 0, 0]."
    )
