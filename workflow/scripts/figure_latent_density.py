"""Draw how often latents fire, layer by layer."""

from typing import TYPE_CHECKING

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.quality.figure_latent_density import draw
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    latent_density: str,
    layer_quality: str,
    arms: str,
    tolerance: float,
    model: str,
    svg: str,
    png: str,
    dpi: int,
) -> None:
    """Write the figure of `tables/latent_density.csv` and the arms, chosen by `tolerance`."""
    tables = (read_file(path) for path in (latent_density, layer_quality, arms))
    figure = draw(*tables, tolerance, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        latent_density=snakemake.input.latent_density,
        layer_quality=snakemake.input.layer_quality,
        arms=snakemake.input.arms,
        tolerance=snakemake.params.tolerance,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
