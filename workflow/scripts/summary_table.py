"""Put quality and cost of every arm side by side, for the summary figure."""

from collections.abc import Sequence
from pathlib import Path

from clustersae.answer.summary import summary_table
from clustersae.presentation.tables import read_file, write_table
from clustersae.runtime import job


def main(arms: Path, cost: Path, beside: Sequence[Path], output: Path) -> None:
    """Write `summary_table`; `beside` are tables that questions add to it."""
    added = [read_file(path) for path in beside]
    write_table(summary_table(read_file(arms), read_file(cost), added), output)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        arms=Path(snakemake.input.arms),
        cost=Path(snakemake.input.cost),
        beside=[Path(path) for path in snakemake.input.beside],
        output=Path(snakemake.output[0]),
    )
