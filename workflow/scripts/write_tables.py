"""Write the tables of one question."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from clustersae.experiment.plan import read_plan
from clustersae.presentation.tables import write_table
from clustersae.runtime import job


def main(
    module: str,
    measured: Mapping[str, str | Sequence[str]],
    outputs: Mapping[str, str],
    options: Mapping[str, Any],
) -> None:
    """Write what `tables` of a module makes.

    Args:
        module: e.g. `clustersae.circuits.tabulate`.
        measured: arguments of its `tables` → a file, or all files of a kind; plan.json is read.
        outputs: the tables that it returns → where they are written.
        options: further arguments.
    """
    told: dict[str, Any] = {**measured, **options}
    if "plan" in told:
        told["plan"] = read_plan(told["plan"])
    made = importlib.import_module(module).tables(**told)
    for name, path in outputs.items():
        write_table(made[name], path)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        module=snakemake.params.module,
        measured=dict(snakemake.input.items()),
        outputs=dict(snakemake.output.items()),
        options={
            name: value
            for name, value in snakemake.params.items()
            if name not in ("code", "module")
        },
    )
