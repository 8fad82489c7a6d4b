"""Which figures there are: questions register theirs, and one rule draws all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clustersae.experiment.digest import script_digest
from clustersae.experiment.inputs import Wildcards

#: The script that draws every figure.
SCRIPT = "draw.py"


@dataclass(frozen=True)
class Figure:
    """One figure of every model.

    Attributes:
        module: that draws it, by its function `draw`.
        category: in the report.
        tables: arguments of `draw` → the files that they are read from, below the model's folder.
        options: arguments of `draw` → functions of the wildcards that give them.
        wanted: whether a model has this figure, from the model's settings.
    """

    module: str
    category: str
    tables: Mapping[str, str]
    options: Mapping[str, Callable[[Wildcards], Any]] = field(default_factory=dict)
    wanted: Callable[[Mapping[str, Any]], bool] = lambda settings: True


class Figures:
    """The figures of an experiment, by name, and what the rule that draws them takes.

    Args:
        scripts: the folder of the scripts and of this library.
        captions: the folder of `{figure}.rst`.
    """

    def __init__(self, scripts: str | Path, captions: str | Path) -> None:
        self.scripts, self.captions = Path(scripts), Path(captions)
        self._figures: dict[str, Figure] = {}

    def add(self, name: str, module: str, category: str, **others: Any) -> None:
        """Register a figure, by the attributes of `Figure`, under the name that its files have."""
        self._figures[name] = Figure(module, category, **others)

    @property
    def pattern(self) -> str:
        """Matches every figure's name."""
        return "|".join(self._figures)

    def of(self, settings: Mapping[str, Any]) -> dict[str, Figure]:
        """The figures of the model that has these settings, by name."""
        return {name: figure for name, figure in self._figures.items() if figure.wanted(settings)}

    def wanted(self, models: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Every figure of every model, in all formats."""
        return [
            f"results/{model}/figures/{name}.{format}"
            for model, settings in models.items()
            for name in self.of(settings)
            for format in ("svg", "png", "pdf")
        ]

    def _of(self, wildcards: Any) -> Figure:
        return self._figures[wildcards.figure]

    def module(self, wildcards: Wildcards) -> str:
        """The module that draws the wildcard's figure."""
        return self._of(wildcards).module

    def tables(self, wildcards: Wildcards) -> dict[str, str]:
        """The input of the wildcard's figure, by the argument that it is for."""
        folder = f"results/{wildcards.model}"
        return {name: f"{folder}/{file}" for name, file in self._of(wildcards).tables.items()}

    def options(self, wildcards: Wildcards) -> dict[str, Any]:
        """The other arguments of the wildcard's figure."""
        return {name: option(wildcards) for name, option in self._of(wildcards).options.items()}

    def code(self, wildcards: Wildcards) -> str:
        """Digest of the script, of the wildcard's figure, and of all the code they reach."""
        return script_digest(SCRIPT, self.scripts, self.module(wildcards))

    def category(self, wildcards: Wildcards) -> str:
        """Where the wildcard's figure stands in the report."""
        return self._of(wildcards).category

    def caption(self, wildcards: Any, input: Any) -> str:
        """How to read the wildcard's figure.

        Not tracked by Snakemake, as it may depend on `input`: another caption draws nothing anew.
        """
        return self.text(wildcards.figure).replace("{model}", wildcards.model)

    def text(self, name: str) -> str:
        """The caption of a figure, with `{model}` where the model's name belongs."""
        return (self.captions / f"{name}.rst").read_text(encoding="utf-8")
