"""Draw what sharing loses against what it saves."""

from typing import TYPE_CHECKING

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.quality import figure_quality_cost as quality_cost
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(arms: str, tolerance: float, model: str, svg: str, png: str, dpi: int) -> None:
    """Write the figure of `tables/arms.csv`; `tolerance` is the one K was chosen by."""
    figure = quality_cost.draw(read_file(arms), tolerance, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        arms=snakemake.input.arms,
        tolerance=snakemake.params.tolerance,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
