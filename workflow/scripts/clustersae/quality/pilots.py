"""What pilot trainings settle: the cheapest arm whose loss stays within the margins."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import candidates, make_pilots
from clustersae.presentation.arms import select
from clustersae.quality.choice import Loss, cheapest_within
from clustersae.runtime.errors import InputError


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
    alone = by_layer(frame, make_pilots(description, settings).arms[0])
    found, losses = [], []
    for each in candidates(description, settings):
        excess = by_layer(frame, each.pilot) / alone - 1
        mean = float(by_layer(frame, each.pilot).mean() / alone.mean() - 1)
        loss = Loss(each.pilot.matched_count, mean, float(excess.max()))
        losses.append((each, loss))
        found.append(
            {
                **{
                    "family": each.family,
                    "entry": each.entry,
                    "within_margins": loss.within(margins),
                },
                **{"budget": each.pilot.matched_count / description["n_layers"]},
                **{"excess_fvu": mean, "excess_fvu_worst": loss.worst},
            }
        )
    chosen = cheapest_within(losses, margins)
    return {
        "family": chosen.family if chosen else None,
        "entry": chosen.entry if chosen else None,
        "margins": margins,
        "pilot_fraction": settings["arms"]["pilot_fraction"],
        "candidates": found,
    }


def by_layer(reconstruction: pd.DataFrame, arm: Arm) -> pd.Series:
    """FVU of every layer in an arm, seeds averaged.

    Args:
        reconstruction: rows of one split.

    Raises:
        InputError: an SAE of the arm has no rows.
    """
    rows = select(reconstruction, arm)
    if set(zip(rows["variant"], rows["cluster"])) != set(arm.saes):
        raise InputError(f"An SAE of {arm.name} has not been evaluated.")
    return rows.groupby("layer")["fvu"].mean()
