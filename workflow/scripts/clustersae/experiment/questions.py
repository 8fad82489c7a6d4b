"""What the verdict answers: questions register their text, and the tables that it is from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clustersae.experiment.digest import script_digest
from clustersae.experiment.inputs import Wildcards

#: The script that writes the verdict.
SCRIPT = "verdict.py"


class Question(NamedTuple):
    """One question of every model.

    Attributes:
        module: that answers it, by its functions `line` and `paragraph`.
        tables: names of the tables that it reads.
        options: what its text is told beside → functions of the wildcards that give it.
        beside: a table of one row per arm, for the summary of quality and cost; or none.
        wanted: whether it is asked of a model, from the model's settings.
    """

    module: str
    tables: tuple[str, ...]
    options: Mapping[str, Callable[[Wildcards], Any]] = {}
    beside: str | None = None
    wanted: Callable[[Mapping[str, Any]], bool] = lambda settings: True


class Questions:
    """The questions of an experiment, by title, and what the rule of the verdict takes.

    Args:
        models: the complete settings of every model, as `config.load` gives them.
        scripts: the folder of the scripts and of this library.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]], scripts: str | Path) -> None:
        self.models, self.scripts = models, scripts
        self._questions: dict[str, Question] = {}

    def add(self, title: str, module: str, tables: tuple[str, ...], **others: Any) -> None:
        """Register a question, by the attributes of `Question`, under its paragraph's heading."""
        self._questions[title] = Question(module, tables, **others)

    def _of(self, wildcards: Wildcards) -> dict[str, Question]:
        settings = self.models[wildcards.model]
        return {title: each for title, each in self._questions.items() if each.wanted(settings)}

    def tables(self, wildcards: Wildcards) -> list[str]:
        """The tables that the verdict on the wildcard's model is written from, none twice."""
        names = [name for each in self._of(wildcards).values() for name in each.tables]
        return [f"results/{wildcards.model}/tables/{name}.csv" for name in dict.fromkeys(names)]

    def beside(self, wildcards: Wildcards) -> list[str]:
        """The tables that are put beside quality and cost of the wildcard's model."""
        names = [each.beside for each in self._of(wildcards).values() if each.beside]
        return [f"results/{wildcards.model}/tables/{name}.csv" for name in names]

    def options(self, wildcards: Wildcards) -> dict[str, Any]:
        """What the texts are told beside the tables, of all questions."""
        return {
            name: option(wildcards)
            for each in self._of(wildcards).values()
            for name, option in each.options.items()
        }

    def modules(self, wildcards: Wildcards) -> dict[str, str]:
        """Title → module of what is asked of the wildcard's model."""
        return {title: each.module for title, each in self._of(wildcards).items()}

    def code(self, wildcards: Wildcards) -> str:
        """Digest of the script, of the questions' modules, and of all the code they reach."""
        return script_digest(SCRIPT, self.scripts, *self.modules(wildcards).values())
