"""Which arm is chosen, from invented losses: the cheapest within the margins."""

import pandas as pd
import pytest

from clustersae.experiment.arms import Arm
from clustersae.quality.choice import Loss, cheapest_within, judged
from clustersae.quality.pilots import by_layer
from clustersae.runtime.errors import InputError

#: (number of shared SAEs, budget) → cost, mean and worst loss.
CANDIDATES = {
    (1, 0.2): Loss(0.2, 0.10, 0.15),
    (2, 0.2): Loss(0.2, 0.12, 0.13),
    (1, 0.4): Loss(0.4, 0.03, 0.09),
    (2, 0.4): Loss(0.4001, 0.01, 0.12),
    (1, 0.8): Loss(0.8, -0.05, 0.00),
}


@pytest.mark.parametrize(
    ("mean", "worst", "chosen"),
    [
        (0.2, 0.2, (1, 0.2)),  # both would do at this cost: the better in the mean
        (0.2, 0.14, (2, 0.2)),
        (0.05, 0.2, (2, 0.4)),  # 0.4 and 0.4001 are one budget
        (0.05, 0.1, (1, 0.4)),
        (0.02, 0.1, (1, 0.8)),
        (-0.1, 0.1, None),
    ],
)
def test_the_cheapest_within_both_margins_is_chosen(mean, worst, chosen):
    margins = {"mean": mean, "worst": worst}
    assert cheapest_within(CANDIDATES.items(), margins) == chosen


def table(**arms):
    """arms.csv: role, matched_count, excess on test, and mean and worst excess on validation."""
    rows = [
        {
            **{"arm": name, "role": role, "matched_count": cost, "excess_fvu": test},
            **{"excess_fvu_worst": test, "excess_fvu_validation": mean},
            **{"excess_fvu_worst_validation": worst},
        }
        for name, (role, cost, test, mean, worst) in arms.items()
    ]
    return pd.DataFrame(rows)


def test_arms_are_judged_on_validation_and_dominated_on_test():
    arms = table(
        base=("baseline", 4, 0.0, 0.0, 0.0),
        special=("specialised", 2, 0.01, 0.02, 0.08),
        half=("equal-compute", 2, 0.2, 0.2, 0.3),
        control=("control", 1, 0.0, 0.0, 0.0),
        many=("main", 3, 0.05, 0.04, 0.04),
        few=("main", 1, 0.5, 0.04, 0.2),
    )
    found = judged(arms, {"mean": 0.05, "worst": 0.1}).set_index("arm")
    assert list(found.index[found["within_margins"]]) == ["base", "special", "control", "many"]
    # The control is cheaper, and no candidate; it dominates all the same.
    assert list(found.index[found["chosen"]]) == ["special"]
    assert list(found.index[found["dominated"]]) == ["base", "special", "half", "many", "few"]
    without = judged(arms[arms["role"] != "control"], {"mean": 0.05, "worst": 0.1})
    assert list(without["arm"][without["dominated"]]) == ["half", "many"]


def test_nobody_dominates_an_arm_of_the_same_saes():
    arms = table(base=("baseline", 4, 0.0, 0.0, 0.0), one=("main", 1, 0.3, 0.3, 0.3),
                 same=("control", 1, 0.3, 0.3, 0.3))  # fmt: skip
    assert not judged(arms, {"mean": 0.05, "worst": 0.1})["dominated"].any()


def test_the_baseline_is_chosen_where_nothing_cheaper_will_do():
    arms = table(base=("baseline", 4, 0.0, 0.0, 0.0), one=("main", 1, 0.3, 0.3, 0.3))
    found = judged(arms, {"mean": 0.05, "worst": 0.1})
    assert list(found["chosen"]) == [True, False]


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


def test_pilots_are_held_together_layer_by_layer_after_averaging_seeds():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2, 0.6, 0.8])
    assert list(by_layer(rows, arm("other"))) == pytest.approx([0.2, 0.7])


def test_an_arm_with_a_missing_sae_is_named():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2])
    with pytest.raises(InputError, match=r"per-layer \(other\) has not been evaluated"):
        by_layer(rows, arm("other"))
