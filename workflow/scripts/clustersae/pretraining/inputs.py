"""What the rules that train language models read and depend on: functions of their wildcards."""

import re
from collections.abc import Mapping
from typing import Any

from clustersae.corpora.named import ANY, cache_folder
from clustersae.experiment.contents import contents_digest
from clustersae.experiment.inputs import InputFunction, Wildcards
from clustersae.experiment.paths import watched
from clustersae.experiment.sources import dataset_files
from clustersae.pretraining.config import is_toy_english

#: Of one language model, and of a further seed of it.
FOLDER = "results/language_models/{model}"
SEED_FOLDER = f"{FOLDER}/seeds/{{seed}}"
#: The trainings of several models in one table.
ACROSS = tuple(f"results/language_models/trainings.{suffix}" for suffix in ("json", "csv"))


class Trainings:
    """The input and params functions of the language models that are trained here.

    Args:
        models: their complete settings, as `pretraining.config.load` gives them.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]]) -> None:
        self.models = models

    def pattern(self, *, toy_english: bool | None = None) -> str:
        """A pattern for names: of all models, or of those whose text is toy English or is not."""
        names = [
            name
            for name, settings in self.models.items()
            if toy_english in (None, is_toy_english(settings))
        ]
        return "|".join(map(re.escape, names)) or "(?!)"  # which never matches

    def is_toy_english(self, wildcards: Wildcards) -> bool:
        """Whether the wildcard's model reads sentences with known factors."""
        return is_toy_english(self.models[wildcards.model])

    @property
    def recorded(self) -> list[str]:
        """The models whose seeds are tabulated."""
        return [name for name, each in self.models.items() if each["training"]["record"]]

    @property
    def wanted(self) -> list[str]:
        """What a run makes of the models beside themselves: their records, tables and figures."""
        names = ("tables/seeds.json", "figures/language_model.svg", "figures/language_model.png")
        files = [
            f"{FOLDER.format(model=model)}/{name}" for model in self.recorded for name in names
        ]
        return [*files, *ACROSS] if len(self.recorded) > 1 else files

    @property
    def texts(self) -> list[str]:
        """The records to print at the end of a run."""
        return [f"{FOLDER.format(model=model)}/tables/seeds.txt" for model in self.recorded]

    def corpus_files(self, wildcards: Wildcards) -> list[str]:
        """The local files of a corpus."""
        return watched(self._corpus_files(wildcards))

    def corpus_contents(self, wildcards: Wildcards) -> str | None:
        """Digest of a corpus's local files: a param, so that what reads the text runs again when
        it was edited or replaced."""
        dataset = self.models[wildcards.model]["corpus"].get("dataset")
        return contents_digest([*self._corpus_files(wildcards), *dataset_files(dataset)])

    def _corpus_files(self, wildcards: Wildcards) -> list[str]:
        corpus = self.models[wildcards.model]["corpus"]
        if corpus["source"] == "named":
            return [corpus["path"]] if corpus["path"] else []
        return corpus["files"] if corpus["source"] in ("text", "jsonl") else []

    def cache(self, wildcards: Wildcards, input: Any) -> str:
        """Where downloaded corpora lie, as seen by whoever starts Snakemake.

        Snakemake does not track params that may depend on `input`: the folder says nothing about
        the text.
        """
        return str(cache_folder(self.models[wildcards.model]["corpus"]["cache"]).absolute())

    def training(self, wildcards: Wildcards) -> dict[str, Any]:
        """The fields of `TrainingSettings`, with the wildcard's seed if it has one."""
        without = ("other_seeds", "record", "published")
        training = self.models[wildcards.model]["training"]
        settings = {key: value for key, value in training.items() if key not in without}
        seed = getattr(wildcards, "seed", None)
        return settings if seed is None else settings | {"seed": int(seed)}

    def seeds(self, wildcards: Wildcards) -> list[int]:
        """The seed of the model under study, then those trained beside it."""
        training = self.models[wildcards.model]["training"]
        return [training["seed"], *training["other_seeds"]]

    def of_seeds(self, file: str) -> InputFunction:
        """A file of the model of every seed, in the order of `seeds`."""

        def files(wildcards: Wildcards) -> list[str]:
            others = self.seeds(wildcards)[1:]
            places = [f"{FOLDER}/model", *(SEED_FOLDER.replace("{seed}", str(s)) for s in others)]
            return [f"{place}/{file}".format(model=wildcards.model) for place in places]

        return files

    def recorded_as(self, wildcards: Wildcards) -> str:
        """What the published form calls a model: its corpus, where that is known by name."""
        published = self.models[wildcards.model]["training"]["published"]
        if published and not self.of_same_text(wildcards):
            return f"{published} (on another text)"
        return published or wildcards.model

    def of_same_text(self, wildcards: Wildcards) -> bool:
        """Whether losses say something beside those that are published for the corpus."""
        return self.models[wildcards.model]["corpus"]["checksum"] != ANY

    def published_curve(self, wildcards: Wildcards) -> str | None:
        """The run whose validation loss a figure shows; none beside losses of another text."""
        published = self.models[wildcards.model]["training"]["published"]
        return published if self.of_same_text(wildcards) else None
