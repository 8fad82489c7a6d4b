"""Draw measured cost beside the prediction A + K T."""

from typing import TYPE_CHECKING

from clustersae.cost.figure import draw
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(cost: str, arms: str, tolerance: float, model: str, svg: str, png: str, dpi: int) -> None:
    """Write the figure of `tables/cost.csv` and the arms, chosen by `tolerance`."""
    figure = draw(read_file(cost), read_file(arms), tolerance, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        cost=snakemake.input.cost,
        arms=snakemake.input.arms,
        tolerance=snakemake.params.tolerance,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
