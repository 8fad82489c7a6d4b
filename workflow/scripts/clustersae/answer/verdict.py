"""The answer of all questions together: a table of a few lines, and the same at length."""

from collections.abc import Mapping
from typing import Protocol

from clustersae.answer import every_arm
from clustersae.answer.ranking import headline, ranking
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import fitted, paragraph
from clustersae.quality.text import caveats


class Text(Protocol):
    """A module that answers a question; both texts are empty where nothing was measured."""

    def line(self, found: Findings) -> str:
        """The answer in at most 100 characters."""

    def paragraph(self, found: Findings) -> str:
        """The answer at length."""


#: Lines of the short form.
MOST_LINES = 15


def short(found: Findings, questions: Mapping[str, Text]) -> str:
    """At most fifteen lines of at most 100 characters: the best arm, its rivals, every question."""
    head = paragraph([headline(found)]).splitlines()
    said = [text for question in questions.values() if (text := question.line(found))]
    below = ["", *said, fitted("Caveats:", caveats(found))]
    room = MOST_LINES - len(head) - len(below) - 1
    n_rows = len(found.tables["arms"])
    while len(table := ranking(found, n_rows)) > room:
        n_rows -= 1
    return "\n".join([*head, "", *table, *below]) + "\n"


def long(found: Findings, questions: Mapping[str, Text]) -> str:
    """Everything that was found, in one paragraph of Markdown per question, and all arms."""
    parts = [paragraph([headline(found)])]
    for name, question in questions.items():
        text = question.paragraph(found)
        parts += [f"## {name}\n", paragraph([text])] if text else []
    return "\n".join([*parts, "## Every arm\n", every_arm.table(found)])
