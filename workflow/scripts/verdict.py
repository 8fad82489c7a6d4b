"""Say what the tables of one model answer, in a few lines and at length."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.answer import verdict
from clustersae.presentation.findings import Findings
from clustersae.presentation.tables import read_file
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_json, write_text


def main(
    tables: Sequence[str | Path],
    questions: Mapping[str, str],
    partitions: str | Path,
    short: str | Path,
    parts: str | Path,
    long: str | Path,
    margins: Mapping[str, float],
    options: Mapping[str, Any],
) -> None:
    """Write the verdict from the tables of a model.

    Args:
        tables: files of `tables/` that the questions read.
        questions: title → module of what is answered.
        partitions: partitions.json.
        short, long: the texts to write.
        parts: the short text with the cells of its table apart, as JSON.
        margins: largest excess FVU that arms were chosen by, `mean` and `worst`.
        options: what questions are told beside.
    """
    found = Findings(
        tables={Path(path).stem: read_file(path) for path in tables},
        partitions=read_json(partitions)["partitions"],
        margins=margins,
        options=options,
    )
    texts: dict[str, Any] = {
        title: importlib.import_module(module) for title, module in questions.items()
    }
    brief = verdict.short(found, texts)
    write_text(short, brief.text())
    write_json(parts, brief.parts())
    write_text(long, verdict.long(found, texts))


if __name__ == "__main__":
    job.start(snakemake)
    main(
        tables=list(snakemake.input.tables),
        questions=snakemake.params.questions,
        partitions=snakemake.input.partitions,
        short=snakemake.output.short,
        parts=snakemake.output.parts,
        long=snakemake.output.long,
        margins=snakemake.params.margins,
        options=snakemake.params.options,
    )
