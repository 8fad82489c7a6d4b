"""The answer of all questions together: a table of a few lines, and the same at length."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from clustersae.answer import every_arm
from clustersae.answer.ranking import Ranking, headline, ranking
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


class Short(NamedTuple):
    """The answer in a few lines.

    Attributes:
        headline: one sentence on the best arm.
        ranking: the arms beside one another.
        answers: one line for each question, the caveats last.
    """

    headline: str
    ranking: Ranking
    answers: list[str]

    def text(self) -> str:
        """At most fifteen lines of at most 100 characters."""
        head = paragraph([self.headline])
        return "\n".join([head, *self.ranking.lines(), "", *self.answers]) + "\n"

    def parts(self) -> dict[str, Any]:
        """The same as plain values, for JSON: the table with its cells apart."""
        return {**self._asdict(), "ranking": self.ranking._asdict()}


def short(found: Findings, questions: Mapping[str, Text]) -> Short:
    """The best arm, as many rivals as there is room for, every question."""
    said = [text for question in questions.values() if (text := question.line(found))]
    answers = [*said, fitted("Caveats:", caveats(found))]
    for n_rows in range(len(found.tables["arms"]), 0, -1):
        brief = Short(headline(found), ranking(found, n_rows), answers)
        if brief.text().count("\n") <= MOST_LINES:
            break
    return brief


def long(found: Findings, questions: Mapping[str, Text]) -> str:
    """Everything that was found, in one paragraph of Markdown per question, and all arms."""
    parts = [paragraph([headline(found)])]
    for name, question in questions.items():
        text = question.paragraph(found)
        parts += [f"## {name}\n", paragraph([text])] if text else []
    return "\n".join([*parts, "## Every arm\n", every_arm.table(found)])
