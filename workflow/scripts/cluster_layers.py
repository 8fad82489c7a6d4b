"""Partitions of the layers by every method, for every number of clusters."""

from pathlib import Path

from clustersae.clustering.distances import load_distance
from clustersae.clustering.tabulate import tabulate_partitions
from clustersae.runtime import job
from clustersae.runtime.files import write_json


def main(
    distances: Path,
    output: Path,
    methods: list[str],
    controls: list[str],
    draws: int,
    distance: str,
    seed: int,
) -> None:
    """Write partitions.json.

    Args:
        distances: the matrices that `layer_distances` wrote.
        output: partitions.json.
        methods: arms.shared.methods, out of complete, average, contiguous, kmeans.
        controls: arms.controls.methods, out of even and random.
        draws: random partitions for each number of clusters.
        distance: which distance to cluster by: angular, angular_centred or cka.
        seed: of k-means and the random control.
    """
    matrix, layers = load_distance(distances, distance)
    partitions = tabulate_partitions(matrix, layers, distance, methods, controls, draws, seed)
    write_json(output, partitions)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        distances=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
        **snakemake.params.clustering,
    )
