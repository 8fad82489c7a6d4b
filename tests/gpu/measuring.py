"""The measurements, tables and verdict of an experiment whose SAEs are trained."""

import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import evaluate_language_model
import evaluate_reconstruction
import evaluate_splice
import measure_cost
import verdict
import write_tables

from clustersae.experiment.inputs import ARM_FOLDER, SAE_FOLDER
from clustersae.experiment.streaming import Streaming
from clustersae.runtime.files import read_json, write_json
from gpu.affordable import settle
from gpu.comparison import Experiment
from gpu.stages import Job

#: What the verdict is written from, of the questions that are asked here.
QUESTIONS = {
    "Quality and cost": "clustersae.quality.text",
    "Which tokens count": "clustersae.quality.stream",
}
ANSWERED_FROM = ("arms", "comparisons", "cost", "stream")
TABLES = (
    *("layer_quality", "arms", "comparisons", "layers", "cost", "training", "latent_density"),
    "stream",
)
BENCHMARKS = "results/benchmarks/{model}"


def compare(given: dict[str, Any], trained: dict[str, Any], job: Job) -> None:
    """Run a whole experiment in the stage's folder; the record gets its tables."""
    os.chdir(job.work)
    experiment = Experiment(given, trained, job)
    experiment.model_and_text()
    began = time.monotonic()
    experiment.activations()
    job.record.put(caching_and_clustering_seconds=round(time.monotonic() - began, 1))
    if job.settings.get("fit"):
        settle(experiment, job.settings["fit"])
    asked = len(experiment.seeds)
    experiment.train(job.settings["reserve"])
    began = time.monotonic()
    measure(experiment)
    job.record.put(measuring_seconds=round(time.monotonic() - began, 1))
    whole = f"{len(experiment.seeds)} of {asked} seeds"
    job.record.put(
        goes_on=whole if len(experiment.seeds) < asked else None,
        seeds=experiment.seeds,
        training_tokens=experiment.settings["sae"]["training_tokens"],
        model=experiment.name,
        margins=experiment.settings["arms"]["margins"],
        files=answer(experiment),
    )
    short = job.record.content["files"]["verdict.txt"].splitlines()
    job.record.put(summary=[whole, *short[:7]])


def measure(experiment: Experiment) -> None:
    """Reconstruction of every SAE, splicing of every arm; anew when seeds have come."""
    folder = experiment.folder / "evaluation"
    measured = folder / "seeds.json"
    if measured.is_file() and read_json(measured) != experiment.seeds:
        shutil.rmtree(folder)
    write_json(measured, experiment.seeds)
    at = experiment.of()
    splits = {
        split: list(map(Path, experiment.inputs.shards(split)(at)))
        for split in ("validation", "test")
    }
    for variant, sae in experiment.plan.evaluated_saes:
        outputs = (
            folder / f"reconstruction/{variant}/{sae}.csv",
            folder / f"density/{variant}/{sae}.csv",
        )
        saes = [experiment.sae_folder(variant, sae, seed) for seed in experiment.seeds]
        experiment.make(
            f"evaluate_reconstruction/{variant}/{sae}",
            outputs,
            partial(evaluate_reconstruction.main, saes, splits, *outputs, experiment.where),
        )
    _splice(experiment)


def _splice(experiment: Experiment) -> None:
    own = experiment.settings["evaluation"]
    rest = (own["splice_tokens"], own["batch_rows"], experiment.where)
    test = Path(experiment.inputs.tokens("test")(experiment.of()))
    model_dir, activations = experiment.folder / "model", experiment.folder / "activations"
    norms = activations / "norms.safetensors"
    language_model = experiment.folder / "evaluation/language_model.csv"
    experiment.make(
        "evaluate_language_model",
        [language_model],
        lambda: evaluate_language_model.main(
            model_dir, test, activations / "statistics.safetensors", norms, language_model, *rest
        ),
    )
    measured = model_dir, test, language_model, norms
    for variant, partition in experiment.plan.measured_arms:
        at = experiment.of(variant=variant, partition=partition)
        place = Path(
            ARM_FOLDER.format(
                model=experiment.name, kind="splice", variant=variant, partition=partition
            )
        )
        written = place / "layers.csv", place / "all.csv"
        saes = [Path(path).parent for path in experiment.inputs.of_arm("cfg.json")(at)]
        given = (*measured, saes, variant, partition, *written, *rest)
        label = f"evaluate_splice/{variant}/{partition}"
        experiment.make(label, written, partial(evaluate_splice.main, *given))


def answer(experiment: Experiment) -> dict[str, str]:
    """Write all tables and the verdict; their texts by file name."""
    at, inputs, folder = experiment.of(), experiment.inputs, experiment.folder
    out, cost = folder / "tables", folder / "evaluation/cost.csv"
    margins = experiment.settings["arms"]["margins"]
    caching = Streaming(inputs).caching
    cached = measure_cost.pairs(
        caching("results/{model}/activations/train/shard-{shard}.json", "")(at),
        caching(f"{BENCHMARKS}/cache_activations/train-{{shard}}.tsv", "")(at),
    )
    saes = measure_cost.pairs(
        inputs.of_saes(f"{SAE_FOLDER}/training.json")(at),
        inputs.of_saes(f"{BENCHMARKS}/train_sae/{{variant}}/{{sae}}/seed-{{seed}}.tsv")(at),
    )
    measure_cost.main(cached, saes, [], cost)

    def evaluated(kind: str) -> list[str]:
        pattern = f"results/{{model}}/evaluation/{kind}/{{variant}}/{{sae}}.csv"
        return inputs.of_saes(pattern, "evaluated_saes")(at)

    written = {name: str(out / f"{name}.csv") for name in TABLES}
    measured = {
        "plan": str(folder / "plan.json"),
        "reconstruction": evaluated("reconstruction"),
        "layer_splice": inputs.of_arms("splice", "layers.csv")(at),
        "partition_splice": inputs.of_arms("splice", "all.csv")(at),
        "density": evaluated("density"),
        "histories": inputs.of_saes(f"{SAE_FOLDER}/history.csv")(at),
        "cost": str(cost),
        "stream": str(folder / "activations/stream.csv"),
    }
    write_tables.main("clustersae.quality.tabulate", measured, written, {"margins": margins})
    partitions = folder / "clusters/partitions.json"
    verdict.main(
        [out / f"{name}.csv" for name in ANSWERED_FROM],
        QUESTIONS,
        partitions,
        out / "verdict.txt",
        out / "verdict.json",
        out / "verdict_long.txt",
        margins,
        options={},
    )
    kept = [*map(Path, written.values()), out / "verdict.txt", partitions, folder / "plan.json"]
    return {path.name: path.read_text(encoding="utf-8") for path in kept}
