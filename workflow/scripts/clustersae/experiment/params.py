"""Which settings a job depends on, and what it may use: params and resources of the rules."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clustersae.experiment.clusters import start_of
from clustersae.experiment.contents import contents_digest
from clustersae.experiment.digest import script_digest
from clustersae.experiment.inputs import Wildcards
from clustersae.experiment.sae_settings import learning_rates
from clustersae.experiment.windows import windows_of

#: What a rule takes: it is called with the wildcards of each job.
ParamsFunction = Callable[[Wildcards], Any]


class Params:
    """The params functions of an experiment.

    Args:
        models: the complete settings of every model, as `config.load` gives them.
        scripts: the folder of the scripts and of this library.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]], scripts: str | Path) -> None:
        self.models = models
        self.scripts = Path(scripts)

    def code(self, script: str, *modules: str) -> str:
        """Digest of a script and of all the library code it reaches: a param of every rule.

        Args:
            modules: that the script imports by name, e.g. `clustersae.circuits.tabulate`.
        """
        return script_digest(script, self.scripts, *modules)

    def contents(self, folder: str) -> str | None:
        """Digest of the files in a folder of the library that are no code of Python."""
        return contents_digest(sorted((self.scripts / folder).iterdir()))

    def section(self, *keys: str, without: tuple[str, ...] = ()) -> ParamsFunction:
        """The settings of the wildcard's model at `keys`, as plain values."""

        def settings(wildcards: Wildcards) -> Any:
            value: Any = self.models[wildcards.model]
            for key in keys:
                value = value[key]
            if isinstance(value, Mapping):
                return {key: each for key, each in value.items() if key not in without}
            return value

        return settings

    def first_of(self, *keys: str, otherwise: Any = None) -> ParamsFunction:
        """The first entry of the list at `keys`, and `otherwise` if that is null."""
        return lambda wildcards: (self.section(*keys)(wildcards) or [otherwise])[0]

    def tokens_asked(self, wildcards: Wildcards, input: Any) -> dict[str, tuple[str, int]]:
        """What will be read of each split, so that too small a text is found at once.

        Snakemake does not track params that may depend on `input`: asking for more tokens later
        must not read the text again. Caching checks once more.
        """
        return self._asked(self.models[wildcards.model])

    def tokens_asked_of_trained(
        self, wildcards: Wildcards, input: Any
    ) -> dict[str, tuple[str, int]]:
        """The same of a text that a language model is trained on, by all that study the model."""
        asked: dict[str, tuple[str, int]] = {}
        for settings in self.models.values():
            if settings["trained"] == wildcards.model:
                for key, each in self._asked(settings).items():
                    asked[key] = max(each, asked.get(key, each))
        return asked

    def _asked(self, settings: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        asked = {
            f"activations.tokens.{split}": (split, n_tokens)
            for split, n_tokens in settings["activations"]["tokens"].items()
        }
        splice_tokens = settings["evaluation"]["splice_tokens"]
        if splice_tokens is None:
            return asked
        return asked | {"evaluation.splice_tokens": ("test", splice_tokens)}

    def rows(self, wildcards: Wildcards) -> dict[str, Any]:
        """How the text stands in rows; nothing of a model trained here, see `formats.LayerSAE`."""
        corpus = self.models[wildcards.model]["corpus"]
        return {key: corpus[key] for key in ("n_ctx", "bos")} if corpus else {}

    def planned(self, wildcards: Wildcards) -> dict[str, Any]:
        """What decides the plan: the sections `arms` and `sae`, as far as they do."""
        settings = self.models[wildcards.model]
        sae = settings["sae"]
        keys = ("training_tokens", "batch_size", "min_steps", "seeds")
        share = sae["specialise"]["shared_fraction"]
        return {
            "arms": settings["arms"],
            "sae": {key: sae[key] for key in keys} | {"specialise": {"shared_fraction": share}},
        }

    def clustering(self, wildcards: Wildcards) -> dict[str, Any]:
        """What decides the partitions. They are made for all numbers of clusters."""
        settings = self.models[wildcards.model]
        controls = settings["arms"]["controls"]
        return {
            "methods": settings["arms"]["shared"]["methods"],
            "controls": controls["methods"] if controls["counts"] else [],
            "draws": controls["draws"],
            "distance": settings["clustering"]["distance"],
            "seed": settings["clustering"]["seed"],
        }

    def windows(self, wildcards: Wildcards) -> dict[str, int] | None:
        """In which training shards are read, as plain values; None where all are mixed."""
        windows = windows_of(self.models[wildcards.model]["activations"])
        return asdict(windows) if windows else None

    def sae(self, wildcards: Wildcards) -> dict[str, Any]:
        """The section `sae` as far as it decides the wildcard's SAE."""
        section = self.models[wildcards.model]["sae"]
        # max_dead is for the choice between learning rates.
        unused = () if len(learning_rates(section, wildcards.variant)) > 1 else ("max_dead",)
        own = self.section("sae", without=("seeds", "specialise", *unused))(wildcards)
        if not start_of(wildcards.variant, wildcards.sae):
            return own
        return own | {"specialise": {"learning_rate": section["specialise"]["learning_rate"]}}


def growing(amount: int) -> Callable[[Wildcards, int], int]:
    """A resource that doubles with every attempt, for jobs that ran out of it."""

    def resource(wildcards: Wildcards, attempt: int) -> int:
        return amount * 2 ** (attempt - 1)

    return resource


def jobs_at_once(cores: int | None, gpus: Any) -> int:
    """How many long jobs Snakemake may start: one for each GPU, or core where no GPU is used.

    Args:
        cores: --cores; None on a cluster, whose jobs are not on this machine.
        gpus: Snakemake's limit of the resource gpu; None if there is none.
    """
    return (gpus.value if gpus else 0) or cores or 1


def has_tasks(settings: Mapping[str, Any]) -> bool:
    """Whether a model is asked for tasks, which circuits are found for."""
    return bool(settings["evaluation"]["tasks"])


def has_probes(settings: Mapping[str, Any]) -> bool:
    """Whether a model's latents are probed for labels of tokens."""
    return bool(settings["evaluation"]["probe_tokens"])


def has_clusters(settings: Mapping[str, Any]) -> bool:
    """Whether a model is asked for several clusters, so that it matters how they are made."""
    asked = settings["arms"]
    counts = [*asked["shared"]["counts"], *(entry["from"] for entry in asked["specialised"])]
    return bool(asked["auto"]) or any(count > 1 for count in counts)


def is_specialised(settings: Mapping[str, Any]) -> bool:
    """Whether a model has specialised SAEs, or may get them by `auto`."""
    return bool(settings["arms"]["specialised"] or "specialised" in settings["arms"]["auto"])
