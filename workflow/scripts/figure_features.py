"""Draw what the latents of every arm mean."""

from typing import TYPE_CHECKING

from clustersae.features.figure import draw
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    features: str, meaning: str, coverage: str, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of `tables/features.csv` and the two tables beside it."""
    figure = draw(read_file(features), read_file(meaning), read_file(coverage), model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        features=snakemake.input.features,
        meaning=snakemake.input.meaning,
        coverage=snakemake.input.coverage,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
