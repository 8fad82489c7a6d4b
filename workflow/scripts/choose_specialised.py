"""Choose roots and budget of specialised SAEs from short pilots (clustering.specialise = auto)."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustersae.experiment.plan import pilot_arms
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
    settings: dict[str, Any],
    target: float,
) -> None:
    """Write the choice, and what every candidate has lost against per-layer pilots.

    Pilots are compared with per-layer pilots of the same length, on the validation split.

    Args:
        settings: what decides the pilots: parts of the sections `clustering` and `sae`.
        target: largest acceptable excess of the mean FVU.
    """
    alone, arms = pilot_arms(read_json(partitions), settings)
    frame = read_files(reconstruction, RECONSTRUCTION)
    frame = frame[frame["split"] == "validation"]
    losses = {pair: loss_of(frame, arm, alone)._replace(cost=pair[1]) for pair, arm in arms.items()}
    excesses = {pair: loss.mean_excess for pair, loss in losses.items()}
    enough = cheapest_within(losses, {"mean": target, "worst": math.inf})
    # Where none is good enough, the best of all.
    root, budget = enough or min(excesses, key=excesses.__getitem__)
    write_json(
        output,
        {
            "from": root,
            "budget": budget,
            "target": target,
            "within_target": excesses[root, budget] <= target,
            "pilot_fraction": settings["clustering"]["pilot_fraction"],
            "candidates": [
                {"from": root, "budget": budget, "excess_fvu": excess}
                for (root, budget), excess in excesses.items()
            ],
        },
    )


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        partitions=Path(snakemake.input.partitions),
        reconstruction=[Path(path) for path in snakemake.input.reconstruction],
        output=Path(snakemake.output[0]),
        settings=snakemake.params.piloting,
        target=snakemake.params.target,
    )
