"""Draw one figure from tables."""

import importlib
from collections.abc import Mapping
from typing import Any

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.runtime import job
from clustersae.runtime.files import read_json


def main(
    module: str,
    tables: Mapping[str, str],
    options: Mapping[str, Any],
    model: str,
    svg: str,
    png: str,
    pdf: str | None = None,
) -> None:
    """Write the figure that `draw` of a module makes, in all formats.

    Args:
        module: e.g. `clustersae.cost.figure`.
        tables: arguments of its `draw` → CSV files, or JSON.
        options: further arguments.
        model: name for the subtitle.
    """
    read = {
        name: read_json(path) if path.endswith(".json") else read_file(path)
        for name, path in tables.items()
    }
    figure = importlib.import_module(module).draw(**read, **options, model=model)
    with style.styled():
        style.save(figure, svg, png, pdf)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        module=snakemake.params.module,
        tables=dict(snakemake.input.items()),
        options=snakemake.params.options,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
        pdf=snakemake.output.pdf,
    )
