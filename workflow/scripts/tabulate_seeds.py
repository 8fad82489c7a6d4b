"""Put the seeds of a language model into the form of the published record, and beside it."""

from collections.abc import Mapping
from pathlib import Path

from clustersae.presentation.tables import write_table
from clustersae.pretraining.seeds import as_text, beside_published, learning_curves, published_form
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_json, write_text


def main(
    records: Mapping[int, tuple[Path, Path]],
    corpus: str,
    published: str | None,
    of_same_text: bool,
    form: Path,
    table: Path,
    text: Path,
    curves: Path,
) -> None:
    """Write what the trainings have come to.

    Args:
        records: training.json and generation.json of every seed, by seed.
        corpus: what the published form calls it.
        published: the run to stand beside, or None.
        of_same_text: losses may stand beside the published ones.
        form: JSON as published.
        table, text: the same with the published run and ratios, as CSV and for a terminal.
        curves: losses by seed and step.
    """
    trainings, generations = (
        {seed: read_json(paths[index]) for seed, paths in records.items()} for index in (0, 1)
    )
    figures = published_form(corpus, [trainings[seed] | generations[seed] for seed in records])
    beside = beside_published(figures, published, of_same_text)
    write_json(form, figures)
    write_table(beside, table)
    devices = (
        list(dict.fromkeys(each["device_name"] for each in part.values()))
        for part in (trainings, generations)
    )
    write_text(text, as_text(beside, *devices))
    write_table(learning_curves(list(trainings.items())), curves)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        records={
            seed: (Path(training), Path(generation))
            for seed, training, generation in zip(
                snakemake.params.seeds, snakemake.input.trainings, snakemake.input.generations
            )
        },
        corpus=snakemake.params.corpus,
        published=snakemake.params.published,
        of_same_text=snakemake.params.of_same_text,
        form=Path(snakemake.output.form),
        table=Path(snakemake.output.table),
        text=Path(snakemake.output.text),
        curves=Path(snakemake.output.curves),
    )
