"""The answer of all questions together: a table of a few lines, and the same at length."""

from types import ModuleType

import clustersae.circuits.text
import clustersae.features.text
import clustersae.quality.text
from clustersae.answer.ranking import headline, ranking
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import fitted, paragraph

#: Each has `line(found)` and `paragraph(found)`, both empty where nothing was measured.
QUESTIONS: dict[str, ModuleType] = {
    "Quality and cost": clustersae.quality.text,
    "Circuits": clustersae.circuits.text,
    "Features": clustersae.features.text,
}
#: Lines of the short form.
MOST_LINES = 15


def short(found: Findings) -> str:
    """At most fifteen lines of at most 100 characters: the best arm, its rivals, every question."""
    head = paragraph([headline(found)]).splitlines()
    said = [text for question in QUESTIONS.values() if (text := question.line(found))]
    caveats = fitted("Caveats:", clustersae.quality.text.caveats(found))
    below = ["", *said, caveats]
    room = MOST_LINES - len(head) - len(below) - 1
    n_rows = len(found.tables["arms"])
    while len(table := ranking(found, n_rows)) > room:
        n_rows -= 1
    return "\n".join([*head, "", *table, *below]) + "\n"


def long(found: Findings) -> str:
    """Everything that was found, in one paragraph of Markdown per question."""
    parts = [paragraph([headline(found)])]
    for name, question in QUESTIONS.items():
        text = question.paragraph(found)
        parts += [f"## {name}\n", paragraph([text])] if text else []
    return "\n".join(parts)
