"""Angular distance, raw and mean-centred, and linear CKA between all pairs of layers."""

from pathlib import Path

import torch

from clustersae.activations.blocks import read_blocks
from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import load_statistics
from clustersae.clustering import distances as layers
from clustersae.runtime import device, job


def main(
    shards: list[Path],
    statistics: Path,
    tensors: Path,
    table: Path,
    tokens: int | None,
    where: torch.device,
) -> None:
    """Write the distances to `tensors` (safetensors) and `table` (CSV).

    Args:
        shards: activations of the training split.
        statistics: statistics of the same activations, for the centred distances.
        tensors: output, the matrices.
        table: output, the same numbers as a long table.
        tokens: use only this many tokens, taken evenly from all shards; all if None.
        where: the device to compute on.
    """
    opened = open_shards(shards)
    fingerprint = opened[0].metadata["fingerprint"]
    mean = load_statistics(statistics, fingerprint).mean
    blocks = read_blocks(opened, n_rows=tokens, label="layer distances")
    distances = layers.layer_distances(blocks, mean.to(where), opened[0].layers)
    layers.save_distances(tensors, table, distances, fingerprint, opened[0].layers)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        shards=[Path(path) for path in snakemake.input.shards],
        statistics=Path(snakemake.input.statistics),
        tensors=Path(snakemake.output.tensors),
        table=Path(snakemake.output.table),
        tokens=snakemake.params.tokens,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
