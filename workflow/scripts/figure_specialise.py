"""Draw what specialising shared SAEs brings."""

from typing import TYPE_CHECKING

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.quality import figure_specialise as specialise
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    arms: str, comparisons: str, tolerance: float, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of the arms and their comparisons; `tolerance` is that of the choice."""
    figure = specialise.draw(read_file(arms), read_file(comparisons), tolerance, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        arms=snakemake.input.arms,
        comparisons=snakemake.input.comparisons,
        tolerance=snakemake.params.tolerance,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
