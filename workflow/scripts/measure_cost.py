"""Collect the measured cost of caching and of every SAE in one table."""

from collections.abc import Sequence
from pathlib import Path

from clustersae.cost.measure import cost_rows
from clustersae.runtime import job
from clustersae.runtime.files import write_csv

#: (record of the job, Snakemake benchmark of the job)
Pairs = list[tuple[Path, Path]]


def main(
    caching: Pairs, saes: Pairs, pilots: Pairs, output: Path, windows: Sequence[Path] = ()
) -> None:
    """Write cost.csv."""
    write_csv(output, cost_rows(caching, saes, pilots, windows))


def pairs(records: list[str], benchmarks: list[str]) -> Pairs:
    return [
        (Path(record), Path(benchmark))
        for record, benchmark in zip(records, benchmarks, strict=True)
    ]


if __name__ == "__main__":
    job.start(snakemake)
    files = snakemake.input
    main(
        caching=pairs(files.caching, files.caching_benchmarks),
        saes=pairs(files.saes, files.sae_benchmarks),
        pilots=pairs(files.pilots, files.pilot_benchmarks),
        output=Path(snakemake.output[0]),
        windows=[Path(path) for path in files.window_benchmarks],
    )
