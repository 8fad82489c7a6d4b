"""What pilot trainings settle: the cheapest arm whose loss stays within the margins."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from clustersae.experiment.planning import candidates, make_pilots
from clustersae.quality.choice import cheapest_within, loss_of


def settle(
    description: Mapping[str, Any], settings: Mapping[str, Any], reconstruction: pd.DataFrame
) -> dict[str, Any]:
    """The arm that `arms.auto` adds to the plan, and what every candidate has lost.

    Pilots are compared with per-layer pilots of the same length, on the validation split.

    Args:
        description: the content of partitions.json.
        settings: the sections `arms` and `sae`.
        reconstruction: of every pilot SAE, columns variant, cluster, seed, split, layer, fvu.

    Returns:
        `family` and `entry` of the choice (both None if no candidate is within the margins),
        `margins`, `pilot_fraction`, and `candidates` with their excess FVU.
    """
    margins = settings["arms"]["margins"]
    frame = reconstruction[reconstruction["split"] == "validation"]
    alone = make_pilots(description, settings).arms[0]
    tried = candidates(description, settings)
    losses = {place: loss_of(frame, each.pilot, alone) for place, each in enumerate(tried)}
    best = cheapest_within(losses, margins)
    return {
        "family": None if best is None else tried[best].family,
        "entry": None if best is None else tried[best].entry,
        "margins": margins,
        "pilot_fraction": settings["arms"]["pilot_fraction"],
        "candidates": [
            {
                "family": each.family,
                "entry": each.entry,
                "pilot_budget": losses[place].cost / description["n_layers"],
                "excess_fvu": losses[place].mean_excess,
                "excess_fvu_worst": losses[place].worst_excess,
                "within_margins": losses[place].within(margins),
            }
            for place, each in enumerate(tried)
        ],
    }
