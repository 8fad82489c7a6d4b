"""Plan which SAEs are trained and compared, with what pilots have settled where they were asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clustersae.experiment.planning import make_plan
from clustersae.presentation.tables import RECONSTRUCTION, read_files
from clustersae.quality.pilots import settle
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_json


def main(partitions: Path, pilots: Sequence[Path], output: Path, settings: dict[str, Any]) -> None:
    """Write plan.json.

    Args:
        pilots: reconstruction files of every pilot SAE; none where `arms.auto` asks for none.
        settings: the sections `arms` and `sae`.
    """
    description = read_json(partitions)
    auto = None
    if pilots:
        auto = settle(description, settings, read_files(pilots, RECONSTRUCTION))
    write_json(output, make_plan(description, settings, auto).as_json(settings["sae"]))


if __name__ == "__main__":
    job.start(snakemake)
    main(
        partitions=Path(snakemake.input.partitions),
        pilots=[Path(path) for path in snakemake.input.pilots],
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
