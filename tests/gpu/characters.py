"""Stage c: the published character model, every seed, and how fast each writes."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import build_corpus
import measure_generation
import tabulate_seeds
import torch
import train_model

from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.tokens import SPLITS
from clustersae.pretraining import config
from clustersae.pretraining.compiling import check_compiler
from clustersae.pretraining.inputs import FOLDER, Trainings
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json
from gpu import content
from gpu.stages import REPOSITORY, Job

SCHEMA = REPOSITORY / "workflow" / "modules" / "language_models" / "schema.yaml"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
#: Of shakespeare_char, on one H200: seconds per seed, loss, and tokens per second.
GOALS = {"total_train_time": 60.0, "best_val_loss": 1.4693, "tokens_per_second": 2385.0}


def run(job: Job) -> None:
    """Train the seeds one after the other; what one has come to stands in the record at once."""
    os.chdir(job.work)  # where `results` lies
    models = language_models(job)
    (name,) = models
    inputs = Trainings(models)
    model = SimpleNamespace(model=name)
    folder = Path(FOLDER.format(model=name))
    corpus(folder / "corpus", models[name]["corpus"])
    records = {}
    for seed, training in zip(inputs.seeds(model), inputs.of_seeds("training.json")(model)):
        place = Path(training).parent
        train_seed(folder / "corpus", place, models[name], inputs, seed, job)
        records[seed] = (place / "training.json", place / "generation.json")
        job.record.add("seeds", str(seed), _figures(*records[seed]))
        job.record.put(training=arithmetic(models[name]["training"], job))
        _tabulate(folder / "tables", records, inputs, model, models[name])
        job.record.put(
            published_form=read_json(folder / "tables" / "seeds.json"),
            files={"seeds.csv": (folder / "tables" / "seeds.csv").read_text(encoding="utf-8")},
            text=(folder / "tables" / "seeds.txt").read_text(encoding="utf-8"),
        )
    found = list(job.record.content["seeds"].values())
    slowest, loss, rate = (
        max(each["total_train_time"] for each in found),
        sum(each["best_val_loss"] for each in found) / len(found),
        min(each["avg_inference_tokens_per_second"] for each in found),
    )
    job.record.put(
        goals={
            "seconds_per_seed": {"goal": GOALS["total_train_time"], "found": slowest},
            "validation_loss": {"goal": GOALS["best_val_loss"], "found": loss},
            "tokens_per_second": {"goal": GOALS["tokens_per_second"], "found": rate},
        },
        summary=[
            f"{len(found)} seeds: at most {slowest:.1f} s each, validation loss {loss:.4f},"
            f" at least {rate:,.0f} tokens/s"
        ],
    )


def prepare_compiler(job: Job, training: dict[str, Any]) -> None:
    """Let a training begin as in a process of its own; without a compiler it does without one.

    torch compiles a function only so many times in one process, and every seed is a new model.
    """
    torch._dynamo.reset()
    if not (training["compile"] and job.where.type == "cuda"):
        return
    try:
        check_compiler()
    except InputError as error:
        training["compile"] = False
        job.record.put(not_compiled=str(error))


def arithmetic(training: dict[str, Any], job: Job) -> dict[str, Any]:
    """What a training computes in, for its record."""
    return {
        "dtype": training["dtype"],
        "compiled": bool(training["compile"]) and job.where.type == "cuda",
    }


def language_models(job: Job) -> dict[str, dict[str, Any]]:
    """The first language model of the stage's preset, read from the packed text."""
    given = job.preset()["language_models"]
    name = next(iter(given))
    given[name]["corpus"]["path"] = str(job.file(content.SHAKESPEARE))
    return config.load({name: given[name]}, SCHEMA)


def corpus(folder: Path, settings: dict[str, Any]) -> None:
    """Make the text of a language model, if it is not there."""
    train, validation, test = (folder / f"{split}.safetensors" for split in SPLITS)
    files = CorpusFiles(train, validation, test, folder / "corpus.json")
    tokenizer, described = (folder / file for file in TOKENIZER)
    if not described.is_file():
        own = {key: value for key, value in settings.items() if key != "n_ctx"} | {"cache": None}
        build_corpus.main(files, tokenizer, described, None, own, settings["n_ctx"], asked={})


def train_seed(
    corpus: Path, place: Path, settings: dict[str, Any], inputs: Trainings, seed: int, job: Job
) -> None:
    """Train one model and let it write; a training that was interrupted goes on."""
    place.mkdir(parents=True, exist_ok=True)
    name = place.parts[place.parts.index("language_models") + 1]
    if not (place / "training.json").is_file():
        prepare_compiler(job, settings["training"])
        train_model.main(
            corpus / "train.safetensors",
            corpus / "validation.safetensors",
            [corpus / file for file in TOKENIZER],
            place,
            place / "training.json",
            settings["architecture"],
            inputs.training(SimpleNamespace(model=name, seed=str(seed))),
            check_tasks=False,
            on=job.where,
        )
    if not (place / "generation.json").is_file():
        measure_generation.main(place, place / "generation.json", seed, job.where)


def _figures(training: Path, generation: Path) -> dict[str, Any]:
    """What is published of a seed, and what else is short."""
    trained, wrote = read_json(training), read_json(generation)
    keys = ("final_train_loss", "best_val_loss", "total_train_time", "resumed_at_step")
    rates = ("window_of_the_last_tokens", "window_in_halves")
    return {
        **{key: trained[key] for key in keys},
        "avg_inference_tokens_per_second": wrote["avg_inference_tokens_per_second"],
        **{f"tokens_per_second_{key}": wrote[key]["avg_tokens_per_second"] for key in rates},
        "first_sample": wrote["first_sample"][:200],
    }


def _tabulate(
    folder: Path,
    records: dict[int, tuple[Path, Path]],
    inputs: Trainings,
    model: SimpleNamespace,
    settings: dict[str, Any],
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    tabulate_seeds.main(
        records,
        inputs.recorded_as(model),
        settings["training"]["published"],
        inputs.of_same_text(model),
        form=folder / "seeds.json",
        table=folder / "seeds.csv",
        text=folder / "seeds.txt",
        curves=folder / "learning_curves.csv",
    )
