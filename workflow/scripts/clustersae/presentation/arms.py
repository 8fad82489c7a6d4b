"""Arms in tables: the columns that name one, and the rows that belong to its SAEs."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from clustersae.experiment.arms import Arm, measured_as
from clustersae.runtime.errors import InputError


def arm_columns(arm: Arm) -> dict[str, Any]:
    """The columns that name an arm in every table."""
    return {
        "arm": arm.name,
        "partition": arm.partition,
        "variant": arm.variant,
        "method": arm.method,
        "role": arm.role,
        "count": arm.count,
        "matched_count": arm.matched_count,
    }


def check_evaluated(arms: Sequence[Arm], reconstruction: pd.DataFrame) -> None:
    """Raise InputError if an SAE of an arm has no row in `reconstruction`."""
    evaluated = set(zip(reconstruction["variant"], reconstruction["cluster"]))
    for arm in arms:
        for variant, name in arm.saes:
            if (variant, name) not in evaluated:
                raise InputError(
                    f"The arm {arm.name} needs the SAE {name} (variant {variant}), which has no"
                    " reconstruction file."
                )


def select(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """The rows of a per-SAE frame (columns variant, cluster) that belong to the arm's SAEs."""
    wanted = pd.MultiIndex.from_tuples(arm.saes)
    return frame[pd.MultiIndex.from_frame(frame[["variant", "cluster"]]).isin(wanted)]


def of_every_arm(frame: pd.DataFrame, arms: Sequence[Arm]) -> pd.DataFrame:
    """Rows of measured arms (columns variant, partition), and the same for arms of the same SAEs.

    Args:
        frame: of the arms that `plan.spliced_arms` lists.
    """
    parts = [frame]
    for (variant, partition), measured in measured_as(arms).items():
        if (variant, partition) != measured:
            rows = frame[(frame["variant"] == measured[0]) & (frame["partition"] == measured[1])]
            parts.append(rows.assign(variant=variant, partition=partition))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
