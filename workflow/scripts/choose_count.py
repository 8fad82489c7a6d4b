"""Choose the number of SAEs from short pilot trainings (clustering.counts = auto)."""

from pathlib import Path
from typing import TYPE_CHECKING

from clustersae.experiment.arms import partition_name
from clustersae.experiment.variants import scaled_variant
from clustersae.presentation.tables import RECONSTRUCTION, read_files
from clustersae.quality.choice import choose_count, worst_excess
from clustersae.runtime import log
from clustersae.runtime.files import read_json, write_json

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    partitions: Path,
    reconstruction: list[Path],
    output: Path,
    method: str,
    tolerance: float,
    pilot_fraction: float,
) -> None:
    """Write the chosen K, and the worst layer's excess FVU for every K it was chosen from.

    Pilots are compared with per-layer pilots of the same length, on the validation split.
    """
    description = read_json(partitions)
    n_layers = description["n_layers"]
    pilot = scaled_variant("tokens", pilot_fraction)
    frame = read_files(reconstruction, RECONSTRUCTION)
    frame = frame[(frame["split"] == "validation") & (frame["variant"] == pilot)]
    frame = frame.assign(variant="base")  # the pilots are the baseline here
    clusters = {
        count: description["partitions"][partition_name(method, count, n_layers)]["clusters"]
        for count in range(1, n_layers + 1)
    }
    count = choose_count(frame, clusters, tolerance)
    write_json(
        output,
        {
            "count": count,
            "method": method,
            "tolerance": tolerance,
            "pilot_variant": pilot,
            "worst_excess_fvu": {k: worst_excess(frame, names) for k, names in clusters.items()},
        },
    )


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        partitions=Path(snakemake.input.partitions),
        reconstruction=[Path(path) for path in snakemake.input.reconstruction],
        output=Path(snakemake.output[0]),
        method=snakemake.params.method,
        tolerance=snakemake.params.tolerance,
        pilot_fraction=snakemake.params.pilot_fraction,
    )
