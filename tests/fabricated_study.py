"""A study whose plan has been made: before it lie empty files, what comes after can be planned.

For studies too large to be run where tests are: how long a dry run takes, and how many jobs reach a
cluster.
"""

import math
import os
from contextlib import chdir
from typing import Any

import numpy as np
import yaml
from configurations import load
from snakemake_project import Project

from clustersae.clustering.tabulate import tabulate_partitions
from clustersae.experiment.plan import Plan
from clustersae.experiment.planning import make_plan
from clustersae.experiment.tasks import task_name
from clustersae.runtime.files import write_json

#: The model of tests/configs/tiny.yaml, which is trained first.
MODEL = "tiny"
SPLITS = ("train", "validation", "test")
_CORPUS = ("tokenizer.json", "tokenizer_config.json", *(f"{split}.safetensors" for split in SPLITS))
_MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_OF_MODEL = (
    *(f"model/{name}" for name in (*_MODEL, "description.json")),
    "activations/norms.safetensors",
    "activations/statistics.safetensors",
    "activations/stream.csv",
    "clusters/distances.safetensors",
    "clusters/distances.csv",
)


def fabricate(project: Project, distances: np.ndarray) -> Plan:
    """Write everything up to the plan of the project's configuration, and give the plan.

    Args:
        distances: `[n_layers, n_layers]`, of which the partitions are made.
    """
    results = project.folder / "results"
    with chdir(project.folder):  # where its text is
        (settings,) = load(yaml.safe_load((project.folder / "config.yaml").read_text())).values()
    for name in _empty_files(settings):
        file = results / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    arms = settings["arms"]
    partitions = tabulate_partitions(
        distances,
        layers=range(len(distances)),
        distance=settings["clustering"]["distance"],
        methods=arms["shared"]["methods"],
        controls=arms["controls"]["methods"],
        draws=arms["controls"]["draws"],
        seed=0,
    )
    plan = make_plan(partitions, settings)
    write_json(results / MODEL / "clusters" / "partitions.json", partitions)
    write_json(results / MODEL / "plan.json", plan.as_json(settings["sae"]))
    for task in map(task_name, settings["evaluation"]["tasks"]):
        write_json(results / MODEL / "tasks" / task / "task.json", {"usable": True})
    for file in results.rglob("*"):
        os.utime(file, (0, 0))  # nothing is newer than what is made of it
    return plan


def _empty_files(settings: dict[str, Any]) -> list[str]:
    """Relative to results/."""
    activations = settings["activations"]
    shards = [
        f"{split}/shard-{number}"
        for split in SPLITS
        for number in range(math.ceil(activations["tokens"][split] / activations["shard_tokens"]))
    ]
    tasks = [task_name(task) for task in settings["evaluation"]["tasks"]]
    return [
        *(f"language_models/{MODEL}/corpus/{name}" for name in _CORPUS),
        *(f"language_models/{MODEL}/model/{name}" for name in _MODEL),
        *(f"{MODEL}/{name}" for name in _OF_MODEL),
        *(
            f"{MODEL}/activations/{shard}.{kind}"
            for shard in shards
            for kind in ("safetensors", "json")
        ),
        *(
            f"benchmarks/{MODEL}/cache_activations/{shard.replace('/shard', '')}.tsv"
            for shard in shards
        ),
        *(
            f"{MODEL}/tasks/{task}/{name}"
            for task in tasks
            for name in ("pairs.jsonl", "recordings.safetensors")
        ),
    ]
