"""Which arm is chosen, from invented losses, and how an arm's loss is measured."""

import numpy as np
import pandas as pd
import pytest

from clustersae.experiment.arms import Arm
from clustersae.quality.choice import Loss, cheapest_within, loss_of, marked
from clustersae.quality.pairs import Words
from clustersae.runtime.errors import InputError

LOSSES = {
    "cheap": Loss(0.10, 0.20, 1.0),
    "uneven": Loss(0.02, 0.15, 2.0),
    "even": Loss(0.04, 0.06, 1.999),
    "dear": Loss(-0.05, 0.0, 4.0),
}


@pytest.mark.parametrize(
    ("mean", "worst", "chosen"),
    [
        (0.1, 0.2, "cheap"),  # a bound belongs to the margins
        (0.05, 0.2, "uneven"),  # roundings of 1.999 and 2 are one cost, and this loses less
        (0.05, 0.1, "even"),  # the worst layer counts as well
        (0.03, 0.1, "dear"),
        (-0.1, 0.1, None),
    ],
)
def test_the_cheapest_within_both_margins_is_chosen(mean, worst, chosen):
    assert cheapest_within(LOSSES, {"mean": mean, "worst": worst}) == chosen


def test_nothing_is_chosen_from_nothing_and_what_was_not_measured():
    margins = {"mean": 1, "worst": 1}
    assert cheapest_within({}, margins) is None
    assert cheapest_within({1: Loss(np.nan, np.nan, 1.0)}, margins) is None


def arm(variant: str) -> Arm:
    saes = ((variant, "0"), (variant, "1"))
    return Arm("per-layer", variant, "per-layer", 2, 2, "baseline", saes)


def frame(**fvu: list[float]) -> pd.DataFrame:
    """FVU of two layers, two seeds each: [layer 0 seed 0, layer 0 seed 1, layer 1 seed 0, ...]."""
    rows = [
        {
            **{"variant": variant, "cluster": str(i // 2), "layer": i // 2, "seed": i % 2},
            **{"split": "validation", "fvu": value},
        }
        for variant, values in fvu.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_losses_are_geometric_means_and_the_worst_layer_is_one_of_all_seeds():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.15, 0.6, 0.8])
    loss = loss_of(rows, arm("other"), arm("base"))
    assert loss.mean_excess == pytest.approx((2 * 0.5 * 1.2 * 8 / 7) ** (1 / 4) - 1)
    # Seed 0 of layer 0 alone is twice as much, and seed 1 half.
    assert loss.worst_excess == pytest.approx((1.2 * 8 / 7) ** (1 / 2) - 1)
    assert loss.cost == 2
    assert loss_of(rows, arm("base"), arm("base")) == (0, 0, 2)


def test_seeds_that_only_one_arm_has_do_not_count():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2, 0.6, 0.8])
    lacking = rows[(rows["variant"] == "base") | (rows["seed"] == 0)]
    for part in (lacking, rows[:-1]):  # on both layers, on one of them
        assert loss_of(part, arm("other"), arm("base")).mean_excess == pytest.approx(
            (2 * 1.2) ** 0.5 - 1
        )
    apart = lacking[(lacking["variant"] == "other") | (lacking["seed"] == 1)]
    with pytest.raises(InputError, match="no seed in common"):
        loss_of(apart, arm("other"), arm("base"))


def test_an_arm_with_a_missing_sae_and_a_second_split_are_named():
    rows = frame(base=[0.1, 0.3, 0.5, 0.7], other=[0.2, 0.2])
    with pytest.raises(InputError, match=r"per-layer \(other\) has not been evaluated"):
        loss_of(rows, arm("other"), arm("base"))
    both = pd.concat([rows, rows.assign(split="test")])
    with pytest.raises(InputError, match="one split"):
        loss_of(both, arm("base"), arm("base"))


def table(*rows: tuple) -> pd.DataFrame:
    """Arms by name, role, training, excess on test, on validation, and of the worst layer there."""
    columns = ["arm", "role", "matched_count", "excess_fvu"]
    columns += ["excess_fvu_validation", "excess_fvu_worst_validation"]
    return pd.DataFrame([("per-layer", "baseline", 4, 0.0, 0.0, 0.0), *rows], columns=columns)


def marks(*rows: tuple, undecided: tuple[str, ...] = ()) -> pd.DataFrame:
    """Who loses more is worse in the mean, and equivalent in the worst layer unless undecided."""
    arms = table(*rows)
    excess = arms.set_index("arm")["excess_fvu"]

    def words(name: str, other: str) -> Words:
        difference = excess[name] - excess[other]
        mean = "worse" if difference > 0 else "better" if difference < 0 else "equivalent"
        return Words(mean, "undecided" if name in undecided else "equivalent")

    return marked(arms, {"mean": 0.05, "worst": 0.1}, words).set_index("arm")


def test_marks_stand_behind_the_training():
    found = marks(
        ("a", "main", 1, 0.3, 0.3, 0.4),
        ("b", "main", 2, 0.02, 0.04, 0.2),
        ("c", "specialised", 2, 0.03, 0.05, 0.1),
        ("d", "equal-compute", 3, 0.04, 0.03, 0.03),
        ("e", "main", 2, 0.31, 0.31, 0.4),
    )
    assert list(found.columns[:6]) == [
        *("role", "matched_count", "within_margins", "dominated", "dominated_by", "chosen")
    ]
    assert list(found.index[found["within_margins"]]) == ["per-layer", "c", "d"]
    # c loses more than b on the test split, at the same cost; but b is outside the margins.
    assert list(found.index[found["dominated"]]) == ["d", "e"]
    assert found["dominated_by"].to_dict() == {
        **{"per-layer": "", "a": "", "b": "", "c": ""},
        **{"d": "c", "e": "a; b; c"},
    }
    assert list(found.index[found["chosen"]]) == ["c"]


def test_controls_are_not_chosen_and_per_layer_saes_are_if_nothing_else_is():
    found = marks(("even", "control", 1, 0.0, 0.0, 0.0), ("a", "main", 3, 0.3, 0.3, 0.4))
    assert list(found.index[found["chosen"]]) == ["per-layer"]
    # The control loses less for less; full training is worse than it in nothing.
    assert list(found.index[found["dominated"]]) == ["a"]


def test_equal_arms_do_not_dominate_one_another():
    twins = (("a", "main", 3, 0.1, 0.1, 0.1), ("even", "control", 3, 0.1, 0.1, 0.1))
    assert not marks(*twins)["dominated"].any()
    unmeasured = marks(("a", "main", 3, 0.1, np.nan, np.nan))
    assert list(unmeasured["within_margins"]) == [True, False]


def test_what_is_undecided_in_the_mean_or_in_the_worst_layer_dominates_nobody():
    rows = (("a", "main", 2, 0.3, 0.3, 0.4), ("b", "main", 2, 0.1, 0.1, 0.2))
    assert list(marks(*rows)["dominated"]) == [False, True, False]
    assert not marks(*rows, undecided=("a",))["dominated"].any()
