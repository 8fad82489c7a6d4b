"""Draw the FVU of every layer, alone and shared."""

from typing import TYPE_CHECKING

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.quality import figure_layer_fvu as layer_fvu
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    layer_quality: str, arms: str, tolerance: float, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of `tables/layer_quality.csv` and the arms, chosen by `tolerance`."""
    figure = layer_fvu.draw(read_file(layer_quality), read_file(arms), tolerance, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        layer_quality=snakemake.input.layer_quality,
        arms=snakemake.input.arms,
        tolerance=snakemake.params.tolerance,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
