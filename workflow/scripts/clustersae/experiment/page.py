"""The page of a run: which figures, tables and settings of a model it holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.experiment import schema
from clustersae.experiment.config import SECTIONS
from clustersae.experiment.figures import Figures
from clustersae.experiment.inputs import Wildcards
from clustersae.experiment.questions import Questions


class Page:
    """What the rule that writes a model's page takes.

    Args:
        models: the complete settings of every model, as `config.load` gives them.
        figures: all that are registered.
        questions: the same.
        schema_file: of the configuration.
        trained: the section `language_models` as it was given; empty without one.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]],
        figures: Figures,
        questions: Questions,
        schema_file: str | Path,
        trained: Mapping[str, Any] | None = None,
    ) -> None:
        self.models, self._figures, self._questions = models, figures, questions
        self.schema_file, self.trained = schema_file, trained or {}

    def figures(self, wildcards: Wildcards) -> list[str]:
        """The figures of the wildcard's model, as SVG."""
        names = self._figures.of(self.models[wildcards.model])
        return [f"results/{wildcards.model}/figures/{name}.svg" for name in names]

    def tables(self, wildcards: Wildcards) -> list[str]:
        """The tables that its texts and figures are made from, and that of the layers."""
        folder = f"results/{wildcards.model}"
        shown = [
            f"{folder}/{file}"
            for figure in self._figures.of(self.models[wildcards.model]).values()
            for file in figure.tables.values()
            if file.startswith("tables/")
        ]
        files = [*self._questions.tables(wildcards), f"{folder}/tables/layers.csv", *shown]
        return list(dict.fromkeys(files))

    def captions(self, wildcards: Wildcards) -> dict[str, tuple[str, str]]:
        """Figure → its category and how to read it, reStructuredText with `{model}` in it.

        `verdict` has an entry, too.
        """
        figures = self._figures.of(self.models[wildcards.model])
        verdict = self._figures.text("verdict")
        return {
            "verdict": ("Answer", verdict.replace("{{ snakemake.wildcards.model }}", "{model}")),
            **{name: (each.category, self._figures.text(name)) for name, each in figures.items()},
        }

    def settings(self, wildcards: Wildcards) -> dict[str, Any]:
        """`complete`, and `asked`: those that are not the defaults.

        Of a model that is trained here, its section of `language_models` stands in both.
        """
        name = wildcards.model
        own = {key: value for key, value in self.models[name].items() if key != "toy_english"}
        rules = schema.read(self.schema_file)
        defaults = schema.filled({}, rules["$defs"]["model"], rules)
        for key in SECTIONS:
            defaults[key] = schema.filled({}, rules["$defs"][key], rules)
        if own["corpus"] is None:  # it reads what it was trained on
            del own["corpus"]
        trained = own["trained"] and {own["trained"]: self.trained[own["trained"]]}
        first = {"language_models": trained} if trained else {}
        return {
            "asked": _ordered(first | {"models": {name: departing(own, defaults)}}),
            "complete": _ordered(first | {"models": {name: own}}),
        }


def _ordered(settings: Any) -> Any:
    """With keys in the order of the alphabet: Snakemake takes another order for a change."""
    if not isinstance(settings, Mapping):
        return settings
    return {key: _ordered(settings[key]) for key in sorted(settings)}


def departing(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults, in the sections that they stand in."""
    result = {}
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            if inner := departing(value, default):
                result[key] = inner
        elif value != default:
            result[key] = value
    return result
