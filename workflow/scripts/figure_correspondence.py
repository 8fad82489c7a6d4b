"""Draw whether latents keep their identity while specialising."""

from typing import TYPE_CHECKING

from clustersae import log
from clustersae.figures import style
from clustersae.figures.correspondence import draw
from clustersae.tables.read import read_file

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(correspondence: str, model: str, svg: str, png: str, dpi: int) -> None:
    """Write the figure of `tables/correspondence.csv`."""
    figure = draw(read_file(correspondence), model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        correspondence=snakemake.input.correspondence,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
