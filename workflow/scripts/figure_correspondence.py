"""Draw whether latents keep their identity while specialising."""

from typing import TYPE_CHECKING

from clustersae.correspondence.figure import draw
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log

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
