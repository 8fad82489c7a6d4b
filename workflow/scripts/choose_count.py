"""Choose the number of SAEs from short pilot trainings (clustering.counts = auto)."""

from pathlib import Path
from typing import TYPE_CHECKING

from clustersae.experiment.arms import PER_LAYER, arm_of, partition_name
from clustersae.experiment.variants import scaled_variant
from clustersae.presentation.tables import RECONSTRUCTION, read_files
from clustersae.quality.choice import cheapest_within, loss_of
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
    alone = arm_of(description, pilot, PER_LAYER, method)
    names = {count: partition_name(method, count, n_layers) for count in range(1, n_layers + 1)}
    losses = {
        count: loss_of(frame, arm_of(description, pilot, name, method), alone)
        for count, name in names.items()
    }
    # The margin of the mean bounds nothing: that of the worst layer is what K is chosen by.
    count = cheapest_within(losses, {"mean": tolerance, "worst": tolerance}) or n_layers
    write_json(
        output,
        {
            "count": count,
            "method": method,
            "tolerance": tolerance,
            "pilot_variant": pilot,
            "worst_excess_fvu": {k: loss.worst_excess for k, loss in losses.items()},
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
