"""A whole experiment without Snakemake: the scripts one after the other, files where they belong.

What is there is not made again, so that an experiment goes on where it was stopped. Which SAEs
there are, and which files each script reads, comes from the same functions as in the rules.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import activation_statistics
import cache_activations
import cluster_layers
import layer_distances
import make_plan
import measure_norms
import tokenise_corpus
import torch
import train_sae

from clustersae.activations.caching import CachingSettings
from clustersae.activations.shards import Shard, open_shards
from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.tokens import SPLITS
from clustersae.cost.measure import job_seconds
from clustersae.experiment import config
from clustersae.experiment.arms import SAE
from clustersae.experiment.clusters import parent
from clustersae.experiment.inputs import SAE_FOLDER, Inputs
from clustersae.experiment.params import Params
from clustersae.experiment.plan import read_plan
from clustersae.models.importing import import_model
from clustersae.pretraining.config import known
from clustersae.runtime.files import read_json, write_text
from gpu.stages import REPOSITORY, Job

WORKFLOW = REPOSITORY / "workflow"
SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"
#: What is no setting of a caching job.
NOT_CACHING = ("tokens", "shard_tokens", "layers", "max_norm_multiple", "window", "keep")
#: A further seed is begun if there is so many times what the slowest one took.
MARGIN = 1.15


def _starts_late(sae: SAE) -> bool:
    """Whether an SAE starts from another, which must be there."""
    return bool(parent(sae[1]))


class _Made:
    """A checkpoint whose output is there."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def get(self, **wildcards: str) -> SimpleNamespace:
        return SimpleNamespace(output=[self.pattern.format(**wildcards)])


class Held:
    """Opens shards once per process, and holds them on the device."""

    def __init__(self, where: torch.device) -> None:
        self.where = where
        self._known: dict[Path, Shard] = {}

    def open(self, paths: Iterable[Path], fingerprint: str | None = None) -> list[Shard]:
        """In the place of `open_shards`."""
        found = open_shards(paths, fingerprint)
        for shard in found:
            if shard.path not in self._known:
                self._known[shard.path] = shard.held_on(self.where, shard.layers)
        return [self._known[shard.path] for shard in found]


class Experiment:
    """One model's experiment in the current folder.

    Args:
        given: a configuration with one model under study.
        trained: complete settings of the language models that were trained here.
    """

    def __init__(self, given: dict[str, Any], trained: dict[str, Any], job: Job) -> None:
        own = {key: value for key, value in given.items() if key != "language_models"}
        models = config.load(own, SCHEMA, known(trained))
        self.name, self.settings = next(iter(models.items()))
        self.job, self.where = job, job.where
        self.seeds = list(self.settings["sae"]["seeds"])
        made = SimpleNamespace(
            make_plan=_Made("results/{model}/plan.json"),
            cluster_layers=_Made("results/{model}/clusters/partitions.json"),
        )
        self.inputs, self.params = Inputs(models, made), Params(models, WORKFLOW / "scripts")
        self.folder = Path("results") / self.name
        self.held = Held(self.where)

    def of(self, **wildcards: Any) -> SimpleNamespace:
        """The wildcards of a job of this model."""
        return SimpleNamespace(model=self.name, **{k: str(v) for k, v in wildcards.items()})

    def make(self, label: str, outputs: Iterable[str | Path], call: Callable[[], Any]) -> None:
        """Run a job whose outputs are not there, and write its time as Snakemake would."""
        paths = [Path(output) for output in outputs]
        if all(path.is_file() for path in paths):
            return
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        call()
        seconds = time.perf_counter() - began
        write_text(f"results/benchmarks/{self.name}/{label}.tsv", f"s\n{seconds:.4f}\n")

    # -- model, text, activations

    def model_and_text(self) -> None:
        """Import the model, and read its text unless it was trained on it."""
        at = self.of()
        place = self.inputs.model_folder(at)
        assert place is not None, "models of the Hub cannot be fetched here"
        self.make(
            "import_model",
            [self.folder / "model/model.safetensors", self.folder / "model/description.json"],
            lambda: import_model(place, self.folder / "model", dtype=self.settings["dtype"]),
        )
        if self.settings["trained"]:
            return
        corpus = self.folder / "corpus"
        train, validation, test = (corpus / f"{split}.safetensors" for split in SPLITS)
        files = CorpusFiles(train, validation, test, corpus / "corpus.json")
        asked = self.params.tokens_asked(at, None)
        self.make(
            "tokenise_corpus",
            files,
            lambda: tokenise_corpus.main(
                files, self.settings["corpus"], self.folder / "model", asked
            ),
        )

    def activations(self) -> None:
        """Cache all splits, take the statistics, and group the layers."""
        asked, model_dir = self.settings["activations"], self.folder / "model"
        norms = self.folder / "activations/norms.safetensors"
        self.make(
            "measure_norms",
            [norms],
            lambda: measure_norms.main(
                model_dir,
                Path(self.inputs.tokens("train")(self.of())),
                norms,
                asked["layers"],
                asked["max_norm_multiple"],
                asked["batch_rows"],
                self.where,
            ),
        )
        caching = CachingSettings(**{k: v for k, v in asked.items() if k not in NOT_CACHING})
        for split, n_tokens in asked["tokens"].items():
            shards = list(map(Path, self.inputs.shards(split)(self.of())))
            for shard, path in enumerate(shards):
                self._cache(split, shard, len(shards), n_tokens, path, norms, caching)
        self._group_layers(norms)

    def _cache(
        self,
        split: str,
        shard: int,
        n_shards: int,
        n_tokens: int,
        path: Path,
        norms: Path,
        caching: CachingSettings,
    ) -> None:
        record, model_dir = path.with_suffix(".json"), self.folder / "model"
        tokens = Path(self.inputs.tokens(split)(self.of()))
        part = (split, shard, n_shards, n_tokens, path, record, caching, self.where)
        self.make(
            f"cache_activations/{split}-{shard}",
            [path, record],
            lambda: cache_activations.main(model_dir, tokens, norms, *part),
        )

    def _group_layers(self, norms: Path) -> None:
        train = list(map(Path, self.inputs.shards("train")(self.of())))
        statistics = self.folder / "activations/statistics.safetensors"
        stream = self.folder / "activations/stream.csv"
        self.make(
            "activation_statistics",
            [statistics, stream],
            lambda: activation_statistics.main(train, norms, statistics, stream),
        )
        distances = self.folder / "clusters/distances.safetensors"
        table, partitions = distances.with_suffix(".csv"), self.folder / "clusters/partitions.json"
        tokens = self.settings["clustering"]["tokens"]
        self.make(
            "layer_distances",
            [distances, table],
            lambda: layer_distances.main(train, statistics, distances, table, tokens, self.where),
        )
        self.make(
            "cluster_layers",
            [partitions],
            lambda: cluster_layers.main(distances, partitions, **self.params.clustering(self.of())),
        )
        self._plan()

    def _plan(self) -> None:
        """Written anew every time, with the seeds that are known now."""
        self.settings["sae"]["seeds"] = self.seeds
        partitions, plan = self.folder / "clusters/partitions.json", self.folder / "plan.json"
        make_plan.main(partitions, [], plan, self.params.planned(self.of()))
        self.plan = read_plan(plan)

    # -- SAEs

    def train_on(self, n_activations: int) -> None:
        """Plan anew, with so many activations for an SAE of the whole budget."""
        self.settings["sae"]["training_tokens"] = n_activations
        self._plan()

    def train(self, reserve: float) -> None:
        """All SAEs of the first seed, then of the next, for as long as there is time.

        Afterwards `seeds` are those that are whole. The slowest of them says how long another one
        takes, whichever call trained it, but for what the first has tried and dropped.

        Args:
            reserve: seconds that are kept for the measurements.
        """
        whole: list[int] = []
        slowest = 0.0
        for seed in self.seeds:
            if whole and self.job.left() < MARGIN * slowest + reserve and self._lacking(seed):
                break
            for variant, sae in sorted(self.plan.trained_saes, key=_starts_late):
                self._train_one(self.of(variant=variant, sae=sae, seed=seed))
            slowest = max(slowest, self._seconds_of(seed))
            whole.append(seed)
            self.job.record.put(whole_seeds=whole, slowest_seed_seconds=slowest)
        self.seeds = whole
        self._plan()

    def _seconds_of(self, seed: int) -> float:
        """What the jobs took that trained a seed, without learning rates that were not chosen."""
        found = Path("results/benchmarks", self.name, "train_sae").glob(f"*/*/seed-{seed}.tsv")
        records = (
            read_json(self.sae_folder(variant, sae, seed) / "training.json")
            for variant, sae in self.plan.trained_saes
        )
        dropped = sum(each["tuning_seconds"] for each in records)
        return sum(job_seconds(file) for file in found) - dropped

    def _lacking(self, seed: int) -> bool:
        return any(
            not (self.sae_folder(variant, sae, seed) / "training.json").is_file()
            for variant, sae in self.plan.trained_saes
        )

    def sae_folder(self, variant: str, sae: str, seed: int | str) -> Path:
        return Path(SAE_FOLDER.format(model=self.name, variant=variant, sae=sae, seed=seed))

    def _train_one(self, at: SimpleNamespace) -> None:
        folder = self.sae_folder(at.variant, at.sae, at.seed)
        start, tuned = self.inputs.start(at), self.inputs.tuned(at)
        files = ("sae.safetensors", "cfg.json", "history.csv", "training.json")
        with patch.object(train_sae, "open_shards", self.held.open):
            self.make(
                f"train_sae/{at.variant}/{at.sae}/seed-{at.seed}",
                [folder / file for file in files],
                lambda: train_sae.main(
                    list(map(Path, self.inputs.shards("train")(at))),
                    self.folder / "activations/statistics.safetensors",
                    folder,
                    at.sae,
                    at.variant,
                    int(at.seed),
                    self.params.sae(at),
                    [self.where],
                    validation=list(map(Path, self.inputs.tuning_shards(at))),
                    start=Path(start[0]).parent if start else None,
                    tuned=Path(tuned[0]) if tuned else None,
                ),
            )
