"""How fast jobs were that have run: operations per second, from the records beside results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clustersae.runtime.files import read_json

#: To start a job: in the demo, what its 93 trainings took beyond training, for each.
JOB_SECONDS = 2.0
#: Everything after caching and training, over these two, in the recorded runs of the demo and of
#: SmolLM2, circuits left out: sums of results/benchmarks.
MEASUREMENTS = (0.3, 0.6)


class Rates(NamedTuple):
    """Operations per second of one job, as `experiment.flops` counts them.

    Attributes:
        caching: in a model's forward pass, with all that caching does beside it.
        training: in training steps.
        source: where they were measured, for people.
    """

    caching: float
    training: float
    source: str

    def caching_hours(self, flops: float, n_jobs: int = 1) -> float:
        """Of one device, for that many jobs together."""
        return (flops / self.caching + JOB_SECONDS * n_jobs) / 3600

    def training_hours(self, flops: float, n_jobs: int) -> float:
        """Of one device, for that many jobs together."""
        return (flops / self.training + JOB_SECONDS * n_jobs) / 3600


def measured_last(results: Path, model: str, home: str) -> Rates | None:
    """The rates of an earlier run below `results`: of this model, or else of the one trained last.

    None where no model there has been both cached and trained on.

    Args:
        home: the model whose activations `model` reads.

    Raises:
        InputError: a record is damaged.
    """
    runs = {}
    for folder in results.glob("*/"):
        name = folder.name
        caches = results / (home if name == model else name)
        cached = list(caches.glob("activations/train/*.json"))
        trained = list(folder.glob("saes/*/*/*/training.json"))
        if cached and trained:
            runs[name] = cached, trained
    if not runs:
        return None
    last = model if model in runs else max(runs, key=lambda name: _newest(runs[name][1]))
    caching, training = (list(map(read_json, files)) for files in runs[last])
    return Rates(
        caching=_rate(caching),
        training=_rate(map(_with_tuning, training)),
        source=f"as measured in the run of {last} on {training[0]['device']}",
    )


def _newest(files: Iterable[Path]) -> float:
    return max(file.stat().st_mtime for file in files)


def _with_tuning(record: Mapping[str, Any]) -> dict[str, float]:
    """Trials of learning rates are steps as any others."""
    return {unit: record[unit] + record.get(f"tuning_{unit}", 0) for unit in ("flops", "seconds")}


def _rate(records: Iterable[Mapping[str, Any]]) -> float:
    """Operations of all over their seconds."""
    records = list(records)
    return sum(each["flops"] for each in records) / sum(each["seconds"] for each in records)
