"""Arms in tables: the columns that name one, the rows that belong to it, and what it is called."""

from collections.abc import Container, Sequence
from typing import Any

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, Arm, measured_as
from clustersae.experiment.variants import CROSSCODER, kind_of
from clustersae.presentation import shown
from clustersae.presentation.judging import same_training
from clustersae.presentation.specialised import budget, start_of
from clustersae.presentation.words import share
from clustersae.runtime.errors import InputError

#: Between the names of several arms in one cell.
SEPARATOR = "; "
METHODS = {
    "complete": "complete linkage",
    "average": "average linkage",
    "contiguous": "optimal runs",
    "kmeans": "k-means",
    "even": "evenly spaced",
}
#: Of role rival: other published ways to save training.
RIVALS = {
    "transfer-forwards": "transferred forwards",
    "transfer-backwards": "transferred backwards",
    "mlsae": "1 multi-layer SAE",
    "crosscoder": "1 crosscoder",
}


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
        frame: of the arms that `plan.measured_arms` lists.
    """
    parts = [frame]
    for (variant, partition), measured in measured_as(arms).items():
        if (variant, partition) != measured:
            rows = frame[(frame["variant"] == measured[0]) & (frame["partition"] == measured[1])]
            parts.append(rows.assign(variant=variant, partition=partition))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def label(arm: pd.Series) -> str:
    """What an arm of `tables/arms.csv` is called; arms of one label differ in training."""
    if arm["role"] == "specialised":
        return f"fine-tuned {start_of(arm['partition'])}"
    if arm["partition"] == PER_LAYER:
        kinds = {"narrower": "per-layer, narrower", "base": "per-layer, full"}
        return kinds.get(kind_of(arm["variant"]), "per-layer")
    if arm["role"] == "rival":
        several = f"{arm['count']} crosscoders"
        is_several = arm["method"] == CROSSCODER and arm["count"] > 1
        return several if is_several else RIVALS[arm["method"]]
    one = arm["count"] == 1
    text = "1 shared SAE" if one else f"{arm['count']} shared SAEs"
    text += "" if one else f", {METHODS.get(arm['method'], arm['method'])}"
    draw = arm["partition"].partition(".")[2]  # random-3.1 is the second
    text += f" (draw {int(draw) + 1})" if draw else ""
    return f"{text}, equal exposure" if arm["role"] == "equal-exposure" else text


def full_label(arm: pd.Series) -> str:
    """An arm's label with its training, which no other arm has."""
    full = arm["arm"] == PER_LAYER
    return "full per-layer SAEs" if full else f"{label(arm)} at {share(budget(arm))}"


def dominating(arms: pd.DataFrame, arm: pd.Series) -> pd.DataFrame:
    """The arms that dominate one, of least excess FVU first (see `quality.choice.marked`)."""
    names = str(arm["dominated_by"]).split(SEPARATOR) if arm["dominated"] else []
    return arms[arms["arm"].isin(names)].sort_values("excess_fvu", kind="stable")


def best(arms: pd.DataFrame) -> pd.Series:
    """The arm that the answer begins with: the cheapest within the margins on the validation split.

    Nothing of the test split decides which one it is, so what that says of it is no pick.
    """
    return shown.chosen(arms)


def cheaper_controls(arms: pd.DataFrame) -> list[str]:
    """What the controls are called that are within the margins for less training than `best`."""
    first = best(arms)
    cheaper = arms["matched_count"] < first["matched_count"]
    cheaper &= ~same_training(arms["matched_count"], first["matched_count"])
    rows = arms[(arms["role"] == "control") & arms["within_margins"] & cheaper]
    return [full_label(arm) for _, arm in rows.iterrows()]


def spoken_of(arms: pd.DataFrame, measured: Container[str]) -> pd.DataFrame:
    """The measured arms that texts hold beside the full per-layer SAEs: up to three, best first."""
    found = (best(arms), shown.specialised(arms), shown.shared(arms))
    names = dict.fromkeys(arm["arm"] for arm in found if arm is not None)
    spoken = [name for name in names if name in measured and name != PER_LAYER]
    return arms.set_index("arm", drop=False).loc[spoken]
