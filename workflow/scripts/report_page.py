"""Write the page of one model: what was found, drawn, measured and asked, in one HTML file."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clustersae.presentation.tables import read_file
from clustersae.report import facts, figures, tables
from clustersae.report.page import Contents, html
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_text


def main(
    model: str,
    verdict: str | Path,
    at_length: str | Path,
    svgs: Sequence[str | Path],
    table_files: Sequence[str | Path],
    cost: str | Path,
    captions: Mapping[str, tuple[str, str]],
    settings: Mapping[str, Any],
    out: str | Path,
) -> None:
    """Write `out` from what a run has left.

    Args:
        model: its name.
        verdict, at_length: verdict.json, verdict_long.txt.
        svgs: the figures.
        table_files: of `tables/`; `arms` is one of them.
        cost: evaluation/cost.csv.
        captions: figure → its category and how to read it; `verdict` is among them.
        settings: `asked` and `complete`.
    """
    read = {Path(file).stem: read_file(file) for file in table_files}
    contents = Contents(
        model=model,
        verdict=read_json(verdict),
        at_length=Path(at_length).read_text(encoding="utf-8"),
        legend=figures.caption(captions["verdict"][1], model),
        drawings=figures.drawings(svgs, captions, model),
        arms=tables.overview(read["arms"]),
        tables=tables.arranged(read),
        settings=settings,
        work=tables.shown("work", facts.work(read_file(cost)), {}),
        versions=facts.versions(),
        machine=facts.machine(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    write_text(out, html(contents))


if __name__ == "__main__":
    job.start(snakemake)
    main(
        model=snakemake.wildcards.model,
        verdict=snakemake.input.verdict,
        at_length=snakemake.input.at_length,
        svgs=snakemake.input.figures,
        table_files=snakemake.input.tables,
        cost=snakemake.input.cost,
        captions=snakemake.params.captions,
        settings=snakemake.params.settings,
        out=snakemake.output[0],
    )
