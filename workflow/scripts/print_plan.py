"""Print the plan of every model and what it costs: `snakemake plan`."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from clustersae.cost.forecast import forecast
from clustersae.cost.listing import arms_table, jobs_table, saes_table, totals
from clustersae.cost.rates import measured_last
from clustersae.cost.supposed import supposed_partitions
from clustersae.experiment.layers import studied_layers
from clustersae.experiment.plan import read_plan
from clustersae.experiment.planning import make_plan
from clustersae.experiment.shape import described_shape
from clustersae.runtime import job, machine
from clustersae.runtime.files import read_json


def main(
    models: Mapping[str, Mapping[str, Any]], made: Collection[Path], results: Path, n_jobs: int
) -> str:
    """The plan of every model as a table, its price, and what this machine has too little of.

    Args:
        models: complete settings, by name.
        made: those of plan.json, pilots.json and partitions.json that are up to date, each below a
            folder with the model's name.
        results: the folder of all models.
        n_jobs: at once.

    Raises:
        InputError: a description is of an earlier version.
    """
    return "\n".join(
        line
        for model, settings in models.items()
        for line in _of_model(model, settings, made, results, n_jobs)
    )


def _of_model(
    model: str, settings: Mapping[str, Any], made: Collection[Path], results: Path, n_jobs: int
) -> Iterator[str]:
    home = settings["same_as"] or model
    shape = described_shape(results / home / "model" / "description.json", settings)
    known = results / model / "clusters" / "partitions.json"
    layers = studied_layers(settings["activations"]["layers"], shape.n_layers)
    is_known = known in made
    partitions = read_json(known) if is_known else supposed_partitions(layers, settings["arms"])
    file, pilots = results / model / "plan.json", results / model / "pilots.json"
    plan = read_plan(file) if file in made else make_plan(partitions, settings)
    price = forecast(settings, shape, partitions, plan)
    rates = measured_last(results, model, home)

    if pilots in made:
        yield f"{model}: pilot trainings, which add one arm"
        yield ""
        yield from saes_table(read_json(pilots))
        yield ""
    yield f"{model}: plan"
    if not is_known:
        yield (
            "Distances between layers are not known yet, so that clusters are runs of even length"
            f" here; snakemake {known} measures them."
        )
    yield ""
    yield from arms_table(price, rates)
    yield ""
    yield from saes_table(plan.as_json(settings["sae"]))
    yield ""
    yield from jobs_table(price, rates)
    yield ""
    present = _size(results / home / "activations") if home == model else 0
    present += _size(results / model / "saes")
    yield from totals(price, rates, machine.look(results), n_jobs, present)
    yield ""


def _size(folder: Path) -> int:
    """Bytes of all files below it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    job.start(snakemake)
    print(
        main(
            snakemake.params.models,
            {Path(path) for path in snakemake.input},
            Path("results"),
            snakemake.params.n_jobs,
        )
    )
