"""Print the plan of every model as a table: `snakemake plan`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clustersae.experiment.plan import as_table
from clustersae.runtime import job
from clustersae.runtime.files import read_json

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(plans: Sequence[Path]) -> str:
    """The tables of plan.json files, and of pilots.json where pilots come first.

    Args:
        plans: below a folder with the model's name.
    """
    parts = []
    for path in plans:
        pilots = path.name == "pilots.json"
        title = f"{path.parent.name}: {'pilot trainings, which add one arm' if pilots else 'plan'}"
        parts.append(f"{title}\n\n{as_table(read_json(path))}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    job.start(snakemake)
    print(main([Path(path) for path in snakemake.input]))
