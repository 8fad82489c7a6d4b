"""Put the seeds of a language model into the form of the published record, and beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clustersae import log
from clustersae.files import read_json, write_json, write_text
from clustersae.tables.read import write_table
from clustersae.tables.seeds import as_text, beside_published, learning_curves, published_form

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    records: Mapping[int, Path],
    corpus: str,
    published: str | None,
    form: Path,
    table: Path,
    text: Path,
    curves: Path,
) -> None:
    """Write what the trainings have come to.

    Args:
        records: training.json of every seed, by seed.
        corpus: what the published form calls it.
        published: the run to stand beside, or None.
        form: JSON as published.
        table, text: the same with the published run and ratios, as CSV and for a terminal.
        curves: losses by seed and step.
    """
    trainings = {seed: read_json(path) for seed, path in records.items()}
    figures = published_form(corpus, list(trainings.values()))
    beside = beside_published(figures, published)
    write_json(form, figures)
    write_table(beside, table)
    write_text(text, as_text(beside, [each["device_name"] for each in trainings.values()]))
    write_table(learning_curves(list(trainings.items())), curves)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        records=dict(zip(snakemake.params.seeds, map(Path, snakemake.input))),
        corpus=snakemake.params.corpus,
        published=snakemake.params.published,
        form=Path(snakemake.output.form),
        table=Path(snakemake.output.table),
        text=Path(snakemake.output.text),
        curves=Path(snakemake.output.curves),
    )
