"""Collect the measured cost of caching and of every SAE in one table."""

from pathlib import Path
from typing import TYPE_CHECKING

from clustersae import log
from clustersae.evaluation.cost import cost_rows
from clustersae.files import write_csv

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(caching: list[tuple[Path, Path]], saes: list[tuple[Path, Path]], output: Path) -> None:
    """Write cost.csv from pairs of (record of the job, Snakemake benchmark of the job)."""
    write_csv(output, cost_rows(caching, saes))


def paths(files: list[str]) -> list[Path]:
    return [Path(file) for file in files]


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        caching=list(
            zip(
                paths(snakemake.input.caching),
                paths(snakemake.input.caching_benchmarks),
                strict=True,
            )
        ),
        saes=list(
            zip(paths(snakemake.input.saes), paths(snakemake.input.sae_benchmarks), strict=True)
        ),
        output=Path(snakemake.output[0]),
    )
