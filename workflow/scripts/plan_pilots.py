"""Plan the short trainings by which `arms.auto` is settled."""

from pathlib import Path
from typing import Any

from clustersae.experiment.planning import make_pilots
from clustersae.runtime import job
from clustersae.runtime.files import read_json, write_json


def main(partitions: Path, output: Path, settings: dict[str, Any]) -> None:
    """Write pilots.json, in the form of plan.json.

    Args:
        settings: the sections `arms` and `sae`.
    """
    write_json(output, make_pilots(read_json(partitions), settings).as_json(settings["sae"]))


if __name__ == "__main__":
    job.start(snakemake)
    main(
        partitions=Path(snakemake.input.partitions),
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
