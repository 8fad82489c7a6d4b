"""Put the tables of several language models into one, across corpora."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clustersae.presentation.tables import read_file, write_table
from clustersae.pretraining.seeds import across
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_json


def main(
    forms: Sequence[Path], tables: Sequence[Path], models: Sequence[str], form: Path, table: Path
) -> None:
    """Write the published form of all corpora, and their rows beside the published run.

    Args:
        forms, tables: what `tabulate_seeds.py` wrote for every model.
        models: their names, in the same order.
    """
    write_json(form, across(models, [read_json(path) for path in forms]))
    parts = [read_file(path).assign(model=model) for model, path in zip(models, tables)]
    whole = pd.concat(parts, ignore_index=True)
    write_table(whole[["model", *whole.columns.drop("model")]], table)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        forms=[Path(path) for path in snakemake.input.forms],
        tables=[Path(path) for path in snakemake.input.tables],
        models=snakemake.params.models,
        form=Path(snakemake.output.form),
        table=Path(snakemake.output.table),
    )
