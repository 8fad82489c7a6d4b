"""Put quality, cost and circuits of every arm side by side, for the summary figure."""

from pathlib import Path
from typing import TYPE_CHECKING

from clustersae.answer.summary import summary_table
from clustersae.presentation.tables import read_file, write_table
from clustersae.runtime import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    arms: Path, cost: Path, circuits: Path | None, output: Path, errors: str, ablation: str
) -> None:
    """Write `summary_table`.

    Args:
        circuits: of a model that is asked for tasks.
        errors, ablation: the mode of circuits.
    """
    found = None if circuits is None else read_file(circuits)
    table = summary_table(read_file(arms), read_file(cost), found, errors, ablation)
    write_table(table, output)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        arms=Path(snakemake.input.arms),
        cost=Path(snakemake.input.cost),
        circuits=Path(snakemake.input.circuits) if snakemake.input.get("circuits") else None,
        output=Path(snakemake.output[0]),
        errors=snakemake.params.errors,
        ablation=snakemake.params.ablation,
    )
