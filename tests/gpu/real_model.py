"""Stage e: a real language model: how fast it is cached, then all SAEs of a comparison."""

import os
from pathlib import Path

import torch
from benchmarks import caching

from clustersae.corpora.tokens import read_tokens
from clustersae.experiment.layers import studied_layers
from clustersae.models.description import read_description
from clustersae.models.gguf import convert
from clustersae.models.loading import load_pretrained
from clustersae.models.residual import ResidualStream
from gpu import content
from gpu.comparison import Experiment
from gpu.measuring import compare
from gpu.stages import Job

#: Of the speed of the bare forward pass.
GOAL = 0.9


def run(job: Job) -> None:
    """Convert the weights, measure caching, run the comparison."""
    os.chdir(job.work)
    folder = job.work / "converted"
    if not (folder / "config.json").is_file():  # comes last
        convert(job.file(content.MODEL), folder)
    given = job.preset()
    name = next(iter(given["models"]))
    section = given["models"][name]
    section["path"] = str(folder)
    section["corpus"]["files"] = [str(job.file(content.STORIES))]
    experiment = Experiment(given, {}, job)
    experiment.model_and_text()
    _measure_caching(experiment, job)
    compare(given, {}, job)
    lines = [
        f"caching {name}: {each['caching_tokens_per_second']:,.0f} tokens/s,"
        f" {100 * each['ratio']:.0f} % of the forward pass"
        for name, each in job.record.content["caching"].items()
    ]
    job.record.put(summary=lines + job.record.content["summary"])


def _measure_caching(experiment: Experiment, job: Job) -> None:
    settings, model_dir = job.settings["caching"], experiment.folder / "model"
    description = read_description(model_dir)
    layers = studied_layers(experiment.settings["activations"]["layers"], description.n_layers)
    tokens = read_tokens(Path(experiment.inputs.tokens("train")(experiment.of()))).tokens
    for dtype in settings["model_dtypes"]:
        for batch_rows in settings["batch_rows"]:
            name = f"{dtype}, {batch_rows} rows"
            if job.record.has("caching", name):
                continue
            model = load_pretrained(model_dir, device=job.where, dtype=getattr(torch, dtype))
            found = caching.measure(
                ResidualStream(model, description),
                tokens[: settings["rows"]].long(),
                description.d_model,
                layers,
                torch.bfloat16,
                job.where,
                batch_rows,
                settings["repeats"],
            )
            goal = {"goal": GOAL, "goal_met": found["ratio"] >= GOAL}
            job.record.add("caching", name, found | goal)
            del model
