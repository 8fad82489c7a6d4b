"""What an arm is called where people read: `3 shared`, `specialised from 1, 50 %`."""

from typing import Any

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.variants import EQUAL_EXPOSURE, kind_of
from clustersae.presentation.shown import SPECIALISED, budget, start_key
from clustersae.presentation.words import share

_METHODS = {
    "average": "average linkage",
    "complete": "complete linkage",
    "contiguous": "contiguous",
    "kmeans": "k-means",
    "even": "evenly spaced",
    "random": "random",
}


def arm_name(arm: pd.Series | dict[str, Any]) -> str:
    """The name of an arm.

    Args:
        arm: a row of a table with the columns that name one, and `n_layers`.
    """
    spent = share(budget(arm))
    if arm["role"] == SPECIALISED:
        return f"specialised from {start_key(arm['partition']):g}, {spent}"
    if arm["partition"] == PER_LAYER:
        kind = kind_of(arm["variant"])
        return {"base": PER_LAYER, "tokens": f"{PER_LAYER}, {spent}"}.get(
            kind, f"{PER_LAYER}, {kind}, {spent}"
        )
    name = "1 shared" if arm["partition"] == SINGLE else f"{arm['count']} shared"
    if arm["role"] == EQUAL_EXPOSURE:
        return f"{name}, equal exposure"
    if arm["role"] in ("control", "alternative"):
        draw = arm["partition"].partition(".")[2]
        return f"{name}, {_METHODS[arm['method']]}{' ' + draw if draw else ''}"
    return name
