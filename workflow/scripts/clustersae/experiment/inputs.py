"""Which files a job reads: functions of its wildcards, named in the rules.

Methods of `wildcards` are input functions themselves (`start`, `tuned`); the others make one
(`shards("train")`). What depends on the plan, or on what a model can do, waits for the checkpoint
that settles it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from clustersae.experiment.arms import PER_LAYER, SAE, with_ancestors
from clustersae.experiment.clusters import start_of
from clustersae.experiment.contents import contents_digest
from clustersae.experiment.paths import watched
from clustersae.experiment.plan import Plan, read_plan
from clustersae.experiment.planning import make_pilots
from clustersae.experiment.sae_settings import learning_rates
from clustersae.experiment.sources import dataset_files, model_files
from clustersae.experiment.variants import BASE
from clustersae.experiment.windows import Windows, windows_of
from clustersae.runtime.files import read_json

#: Folders of a model, an SAE, and an arm's measurements of one kind.
MODEL = "results/{model}"
SAE_FOLDER = f"{MODEL}/saes/{{variant}}/{{sae}}/seed-{{seed}}"
ARM_FOLDER = f"{MODEL}/evaluation/{{kind}}/{{variant}}/{{partition}}"
#: Models that are trained here, each a folder with a Hugging Face directory and its text.
TRAINED = "results/language_models"
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class Wildcards(Protocol):
    """What Snakemake passes to input functions: the wildcards of a job, as attributes."""

    model: str
    split: str
    shard: str
    window: str
    variant: str
    sae: str
    partition: str
    seed: str
    task: str


#: What a rule takes: it is called with the wildcards of each job, for several files or for one.
InputFunction = Callable[[Wildcards], list[str]]
FileFunction = Callable[[Wildcards], str]


class Inputs:
    """The input functions of an experiment.

    Args:
        models: the complete settings of every model, as `config.load` gives them.
        checkpoints: Snakemake's; `make_plan` and `cluster_layers` are asked for.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]], checkpoints: Any) -> None:
        self.models = models
        self.checkpoints = checkpoints
        #: Model, partitions.json and its time of change → what was planned from it.
        self._pilots: dict[tuple[str, str, int], Plan] = {}

    # -- text, model, activations

    def home(self, model: str) -> str:
        """The model whose text, weights and activations are used: itself, or `same_as`."""
        return self.models[model]["same_as"] or model

    def of_home(self, path: str) -> FileFunction:
        """A file of the model whose weights and activations are used."""
        return lambda wildcards: f"results/{self.home(wildcards.model)}/{path}"

    def model_folder(self, wildcards: Wildcards) -> str | None:
        """The directory or GGUF file that the wildcard's model is in; None if it is on the Hub."""
        settings = self.models[wildcards.model]
        if settings["trained"]:
            return f"{TRAINED}/{settings['trained']}/model"
        return settings["path"]

    def trained_files(self, wildcards: Wildcards) -> list[str]:
        """The files of a model that is trained here; nothing for others."""
        if not self.models[wildcards.model]["trained"]:
            return []
        return [f"{self.model_folder(wildcards)}/{name}" for name in MODEL_FILES]

    def model_files(self, wildcards: Wildcards) -> list[str]:
        """The files of a model that is the user's own: a GGUF file, or those of a directory."""
        return watched(map(str, self._model_files(wildcards)))

    def model_contents(self, wildcards: Wildcards) -> str | None:
        """Digest of a user's own model: a param, so that another one is imported again."""
        return contents_digest(self._model_files(wildcards))

    def _model_files(self, wildcards: Wildcards) -> list[Path]:
        settings = self.models[wildcards.model]
        if not settings["path"]:
            return []
        return model_files(settings["path"], settings["trust_remote_code"])

    def corpus_files(self, wildcards: Wildcards) -> list[str]:
        """The files of a text."""
        return watched(self.models[wildcards.model]["corpus"]["files"])

    def corpus_contents(self, wildcards: Wildcards) -> str | None:
        """Digest of a text's files, a local data set's included: a param, so that what reads the
        text runs again when it was edited or replaced."""
        corpus = self.models[wildcards.model]["corpus"]
        return contents_digest([*corpus["files"], *dataset_files(corpus["dataset"])])

    def tokens(self, split: str | None = None) -> FileFunction:
        """The text in tokens, of one split or of the wildcard's, where it was made."""
        return lambda wildcards: f"{self._corpus(wildcards)}/{split or wildcards.split}.safetensors"

    def factors(self, wildcards: Wildcards) -> list[str]:
        """What generated each row, where the text is toy English; else nothing."""
        known = self.models[wildcards.model]["toy_english"]
        return [f"{self._corpus(wildcards)}/factors.parquet"] if known else []

    def _corpus(self, wildcards: Wildcards) -> str:
        trained = self.models[wildcards.model]["trained"]
        folder = f"{TRAINED}/{trained}" if trained else f"results/{self.home(wildcards.model)}"
        return f"{folder}/corpus"

    def shards(self, split: str) -> InputFunction:
        """The cached activations of one split."""
        return lambda wildcards: [
            f"results/{self.home(wildcards.model)}/activations/{split}/shard-{n}.safetensors"
            for n in range(self.n_shards(wildcards.model, split))
        ]

    def first_shards(self, wildcards: Wildcards) -> list[str]:
        """The training shards from which statistics and distances are taken: those of window 0, or
        all where all are mixed."""
        windows = windows_of(self.models[wildcards.model]["activations"])
        shards = self.shards("train")(wildcards)
        return [shards[number] for number in windows.shards(0)] if windows else shards

    def streams(self, model: str) -> Windows | None:
        """The windows of a model whose training shards are not kept; else None."""
        activations = self.models[model]["activations"]
        return None if activations["keep"] else windows_of(activations)

    def n_shards(self, model: str, split: str) -> int:
        """How many jobs cache a split."""
        activations = self.models[model]["activations"]
        return math.ceil(activations["tokens"][split] / activations["shard_tokens"])

    # -- one SAE

    def seeds(self, wildcards: Wildcards) -> list[int]:
        """Those of every SAE of the wildcard's model."""
        return self.models[wildcards.model]["sae"]["seeds"]

    def of_sae(self, file: str) -> InputFunction:
        """A file of the wildcard's SAE, for every seed."""
        return lambda wildcards: self._saes(
            f"{SAE_FOLDER}/{file}", wildcards, [(wildcards.variant, wildcards.sae)]
        )

    def start(self, wildcards: Wildcards) -> list[str]:
        """The SAE that the wildcard's SAE starts from; nothing where it starts from scratch."""
        start = start_of(wildcards.variant, wildcards.sae)
        if start is None:
            return []
        return self._saes(f"{SAE_FOLDER}/sae.safetensors", wildcards, [start], [wildcards.seed])

    def tuning_shards(self, wildcards: Wildcards) -> list[str]:
        """The validation split, for the SAE that chooses a learning rate; else nothing."""
        if self._n_rates(wildcards) > 1 and self._is_first(wildcards):
            return self.shards("validation")(wildcards)
        return []

    def tuned(self, wildcards: Wildcards) -> list[str]:
        """The record of the first seed, where that has chosen the learning rate; else nothing."""
        if self._n_rates(wildcards) == 1 or self._is_first(wildcards):
            return []
        own, first = (wildcards.variant, wildcards.sae), self.seeds(wildcards)[0]
        return self._saes(f"{SAE_FOLDER}/training.json", wildcards, [own], [first])

    def _n_rates(self, wildcards: Wildcards) -> int:
        return len(learning_rates(self.models[wildcards.model]["sae"], wildcards.variant))

    def _is_first(self, wildcards: Wildcards) -> bool:
        return int(wildcards.seed) == self.seeds(wildcards)[0]

    # -- what the plan says

    def plan(self, wildcards: Wildcards) -> Plan:
        """The plan of the wildcard's model, once it has been made."""
        return self.plan_of(wildcards.model)

    def plan_of(self, model: str) -> Plan:
        """The same by the model's name."""
        return _read(self.checkpoints.make_plan.get(model=model).output[0])

    def pilots(self, wildcards: Wildcards) -> Plan | None:
        """The plan of the pilots that `arms.auto` asks; None where it asks none."""
        if not self.models[wildcards.model]["arms"]["auto"]:
            return None
        partitions = Path(self.checkpoints.cluster_layers.get(model=wildcards.model).output[0])
        version = (wildcards.model, str(partitions), partitions.stat().st_mtime_ns)
        if version not in self._pilots:
            settings = self.models[wildcards.model]
            self._pilots[version] = make_pilots(read_json(partitions), settings)
        return self._pilots[version]

    def plans(self, _wildcards: Wildcards) -> list[str]:
        """What is known of the plan of every model without paying for it: `snakemake plan`.

        Which model it is; once its layers have been clustered, for which they must be cached, the
        plan. Where pilots settle a part of it, the plan of the pilots; once they have, both.
        """
        files = [f"results/{self.home(model)}/model/description.json" for model in self.models]
        for model, settings in self.models.items():
            plan, partitions = (
                f"results/{model}/{name}" for name in ("plan.json", "clusters/partitions.json")
            )
            if not Path(partitions).is_file():
                continue
            files.append(partitions)
            if settings["arms"]["auto"]:
                files.append(f"results/{model}/pilots.json")
            if not settings["arms"]["auto"] or Path(plan).is_file():
                files.append(plan)
        return list(dict.fromkeys(files))

    def of_saes(self, pattern: str, which: str = "trained_saes") -> InputFunction:
        """`pattern` for every SAE of the plan; `which` is a property of `Plan`."""
        return lambda wildcards: self._saes(
            pattern, wildcards, getattr(self.plan(wildcards), which)
        )

    def of_pilots(self, pattern: str, which: str = "trained_saes") -> InputFunction:
        """`pattern` for every pilot SAE; nothing where no pilots are asked for."""

        def files(wildcards: Wildcards) -> list[str]:
            plan = self.pilots(wildcards)
            return self._saes(pattern, wildcards, getattr(plan, which)) if plan else []

        return files

    def of_arm(self, file: str, with_roots: bool = False) -> InputFunction:
        """A file of the SAEs that serve the wildcard's arm, all seeds.

        With roots: also of those that specialised ones have started from.
        """

        def files(wildcards: Wildcards) -> list[str]:
            saes = self.plan(wildcards).arm(wildcards.variant, wildcards.partition).saes
            pairs = with_ancestors(saes) if with_roots else saes
            ordered = [*saes, *(pair for pair in pairs if pair not in saes)]
            return self._saes(f"{SAE_FOLDER}/{file}", wildcards, ordered)

        return files

    def of_arms(self, kind: str, file: str, which: str = "measured_arms") -> InputFunction:
        """A file of one kind of measurement, of every arm; `which` is a property of `Plan`."""
        return lambda wildcards: _arms(kind, file, wildcards, getattr(self.plan(wildcards), which))

    def of_browsed(self, kind: str, file: str) -> InputFunction:
        """A file of one kind of measurement, of every arm that the feature browser shows."""
        return lambda wildcards: _arms(kind, file, wildcards, self._browsed(wildcards))

    def of_browsed_saes(self, file: str) -> InputFunction:
        """A file of the SAEs of those arms, and of the per-layer ones, all of the first seed."""

        def files(wildcards: Wildcards) -> list[str]:
            plan, seed = self.plan(wildcards), self.seeds(wildcards)[0]
            arms = [(BASE, PER_LAYER), *self._browsed(wildcards)]
            saes = dict.fromkeys(sae for pair in arms for sae in plan.arm(*pair).saes)
            return self._saes(f"{SAE_FOLDER}/{file}", wildcards, saes, [seed])

        return files

    def _browsed(self, wildcards: Wildcards) -> list[tuple[str, str]]:
        kinds = self.models[wildcards.model]["browser"]["arms"]
        return self.plan(wildcards).browsed_arms(kinds)

    def _saes(
        self,
        pattern: str,
        wildcards: Wildcards,
        saes: Iterable[SAE],
        seeds: Sequence[int | str] | None = None,
    ) -> list[str]:
        """`pattern` for every (variant, sae), and for every seed if it has {seed}."""
        seeds = (seeds or self.seeds(wildcards)) if "{seed}" in pattern else [""]
        return [
            pattern.format(model=wildcards.model, variant=variant, sae=sae, seed=seed)
            for variant, sae in saes
            for seed in seeds
        ]


def _arms(kind: str, file: str, wildcards: Wildcards, arms: Iterable[tuple[str, str]]) -> list[str]:
    return [
        f"{ARM_FOLDER}/{file}".format(
            model=wildcards.model, kind=kind, variant=variant, partition=partition
        )
        for variant, partition in arms
    ]


def _read(path: str | Path) -> Plan:
    """`read_plan`, once for as long as the file is the same."""
    return _read_at(str(path), Path(path).stat().st_mtime_ns)


@cache
def _read_at(path: str, _changed: int) -> Plan:
    return read_plan(path)
