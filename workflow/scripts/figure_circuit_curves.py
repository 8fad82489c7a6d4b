"""Draw faithfulness and completeness against the size of circuits."""

from typing import TYPE_CHECKING

from clustersae.circuits import figure_curves as circuit_curves
from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    curves: str, areas: str, tasks: str, ablation: str, model: str, svg: str, png: str, dpi: int
) -> None:
    """Write the figure of `tables/circuit_curves.csv` for one `ablation`."""
    tables = (read_file(path) for path in (curves, areas, tasks))
    figure = circuit_curves.draw(*tables, ablation, model)
    with style.styled():
        style.save(figure, svg, png, dpi)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        curves=snakemake.input.circuit_curves,
        areas=snakemake.input.circuits,
        tasks=snakemake.input.tasks,
        ablation=snakemake.params.ablation,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        dpi=snakemake.params.dpi,
    )
