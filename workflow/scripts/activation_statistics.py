"""Mean and scale of every layer's activations on the training split, and what was left out."""

from pathlib import Path

import torch

from clustersae.activations.blocks import read_blocks
from clustersae.activations.mask import load_limits
from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import compute_statistics, save_statistics
from clustersae.activations.table import stream_table
from clustersae.runtime import job
from clustersae.runtime.files import write_csv


def main(shards: list[Path], limits: Path, output: Path, table: Path) -> None:
    """Write the statistics of `shards`, all from one model, to `output`.

    Args:
        limits: beyond which tokens were left out for their norm.
        table: CSV, see `activations.table`.
    """
    opened = open_shards(shards)
    fingerprint = opened[0].metadata["fingerprint"]
    blocks = read_blocks(opened, label="activation statistics")
    statistics = compute_statistics(blocks, opened[0].layers)
    write_csv(table, stream_table(opened, statistics, load_limits(limits, fingerprint)))
    save_statistics(output, statistics, fingerprint, opened[0].layers, opened)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        shards=[Path(path) for path in snakemake.input.shards],
        limits=Path(snakemake.input.limits),
        output=Path(snakemake.output.statistics),
        table=Path(snakemake.output.table),
    )
