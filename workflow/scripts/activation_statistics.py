"""Mean and scale of every layer's activations on the training split."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clustersae.activations.blocks import read_blocks
from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import compute_statistics, save_statistics
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(shards: list[Path], output: Path) -> None:
    """Write the statistics of `shards`, all from one model, to `output`."""
    opened = open_shards(shards)
    statistics = compute_statistics(read_blocks(opened, label="activation statistics"))
    save_statistics(output, statistics, opened[0].metadata["fingerprint"])


if __name__ == "__main__":
    log.to(snakemake.log[0])
    torch.set_num_threads(snakemake.threads)
    main(shards=[Path(path) for path in snakemake.input.shards], output=Path(snakemake.output[0]))
