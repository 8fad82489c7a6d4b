"""Stage d: how fast the larger character models train, on a stand-in for their text."""

from typing import Any

import yaml
from benchmarks import lm_training

from clustersae.pretraining import config
from clustersae.pretraining.published import MEANS
from gpu import content
from gpu.characters import SCHEMA, arithmetic, prepare_compiler
from gpu.stages import REPOSITORY, Job, merged

#: Seconds of a whole training, on one H200.
GOAL = 400.0


def run(job: Job) -> None:
    """Every preset of the settings."""
    for path in job.settings["presets"]:
        given = yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))["language_models"]
        name = next(iter(given))
        if job.record.has("trainings", name):
            continue
        changed = merged(given[name], job.settings.get("changes") or {})
        model = config.load({name: changed}, SCHEMA)[name]
        prepare_compiler(job, model["training"])
        sizes = tuple(job.settings["sizes"]) if job.settings.get("sizes") else None
        found = lm_training.measure(
            name, model, job.file(content.SHAKESPEARE), job.settings["steps"], job.where, sizes
        )
        found |= arithmetic(model["training"], job)
        job.record.add("trainings", name, found | _beside_published(name, found))
    lines = [
        f"{name}: {each['milliseconds_per_step']:.2f} ms per step,"
        f" {each['extrapolated_seconds']:.0f} s in all (published: {each['published_seconds']} s)"
        for name, each in job.record.content["trainings"].items()
    ]
    job.record.put(summary=lines)


def _beside_published(name: str, found: dict[str, Any]) -> dict[str, Any]:
    seconds = found["extrapolated_seconds"]
    published = MEANS[name][2] if name in MEANS else None
    return {
        "published_seconds": published,
        "ratio": seconds / published if published else None,
        "goal_seconds": GOAL,
        "goal_met": seconds <= GOAL,
    }
