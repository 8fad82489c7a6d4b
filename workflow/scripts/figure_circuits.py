"""Draw how much of each task the circuits of every arm carry."""

from typing import TYPE_CHECKING

from clustersae.circuits import figure_areas as circuits
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    areas: str, tasks: str, errors: str, ablation: str, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of `tables/circuits.csv` in one mode of `errors` and one `ablation`."""
    figure = circuits.draw(read_file(areas), read_file(tasks), errors, ablation, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        areas=snakemake.input.circuits,
        tasks=snakemake.input.tasks,
        errors=snakemake.params.errors,
        ablation=snakemake.params.ablation,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
