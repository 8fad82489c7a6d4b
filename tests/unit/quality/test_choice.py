"""Which way of specialising is chosen, from invented losses."""

import pandas as pd
import pytest

from clustersae.experiment.arms import Arm
from clustersae.quality.choice import choose_specialised, mean_excess
from clustersae.runtime.errors import InputError

EXCESSES = {(1, 0.2): 0.10, (2, 0.2): 0.12, (1, 0.4): 0.03, (2, 0.4): 0.01, (1, 0.8): -0.05}


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (0.2, (1, 0.2)),  # both roots would do at this budget: the better one
        (0.11, (1, 0.2)),
        (0.05, (2, 0.4)),
        (0.0, (1, 0.8)),
        (-0.1, (1, 0.8)),  # nothing is good enough: the best there is
    ],
)
def test_the_least_budget_within_the_target_is_chosen(target, chosen):
    assert choose_specialised(EXCESSES, target) == chosen


def arm(variant: str) -> Arm:
    saes = ((variant, "0"), (variant, "1"))
    return Arm("per-layer", variant, "per-layer", 2, 2, "baseline", saes)


def frame(**fvu: list[float]) -> pd.DataFrame:
    """FVU of two layers, two seeds each: [layer 0 seed 0, layer 0 seed 1, layer 1 seed 0, ...]."""
    rows = [
        {"variant": variant, "cluster": str(i // 2), "layer": i // 2, "seed": i % 2, "fvu": value}
        for variant, values in fvu.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_excess_is_that_of_the_mean_over_layers():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2, 0.6, 0.8])
    assert mean_excess(rows, arm("other"), arm("base")) == pytest.approx(0.45 / 0.40 - 1)


def test_an_arm_with_a_missing_sae_is_named():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2])
    with pytest.raises(InputError, match=r"per-layer \(other\) has not been evaluated"):
        mean_excess(rows, arm("other"), arm("base"))
