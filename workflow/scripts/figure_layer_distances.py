"""Draw the distances between layers and the partitions of every K."""

from typing import TYPE_CHECKING

from clustersae.clustering import figure as layer_distances
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log
from clustersae.runtime.files import read_json

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    distances: str, partitions: str, arms: str, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of `clusters/distances.csv`, `clusters/partitions.json` and the arms."""
    figure = layer_distances.draw(
        read_file(distances), read_json(partitions), read_file(arms), model
    )
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        distances=snakemake.input.distances,
        partitions=snakemake.input.partitions,
        arms=snakemake.input.arms,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
