"""Per-layer SAEs of equal total cost, which nobody has trained: between others, never beyond."""

import numpy as np
import pandas as pd
import pytest

from clustersae.experiment.arms import Arm
from clustersae.presentation.arms import arm_columns
from clustersae.quality.equal_cost import equal_cost_columns

N_LAYERS, MARGINS = 3, {"mean": 0.05, "worst": 0.1}


def an_arm(partition, variant, role, spent):
    return Arm(partition, variant, partition, N_LAYERS, spent, role, ())


FULL = an_arm("per-layer", "base", "baseline", 3.0)
HALF = an_arm("per-layer", "tokens-1of2", "equal-compute", 1.5)
TWICE = an_arm("per-layer", "tokens-2of1", "equal-compute", 6.0)
NARROW = an_arm("per-layer", "narrower-1of2", "equal-compute", 1.5)
SHARED = an_arm("single", "base", "main", 1.0)
ARMS = (FULL, HALF, TWICE, NARROW, SHARED)


def measured(arm, by_layer, seeds=(0, 1)):
    """Rows of layer_quality: seeds are 10 % apart on every layer, on the test split."""
    rows = [
        {**arm_columns(arm), "layer": layer, "seed": seed, "split": split, "fvu": fvu}
        for layer, value in enumerate(by_layer)
        for seed in seeds
        for split, fvu in (("test", value * 1.1**seed), ("validation", 9.0))
    ]
    return pd.DataFrame(rows)


def columns(arm, costs, fvu, seeds=None):
    rows = [measured(each, fvu[each.name], *((seeds or {}).get(each.name, ()))) for each in ARMS]
    pairs = {name: np.broadcast_to(each, 2) for name, each in costs.items()}  # of seeds 0 and 1
    by_seed = pd.DataFrame(pairs, dtype=float).T
    totals = {"seconds": by_seed, "flops": 7 * by_seed}
    found = equal_cost_columns(arm, ARMS, pd.concat(rows), totals, MARGINS)
    for name in ("budget_equal", "excess_fvu_equal", "verdict_equal"):
        one, other = found[f"{name}_seconds"], found[f"{name}_flops"]
        assert one == other or one == pytest.approx(other, nan_ok=True)
    return found


def power_law(cost):
    """FVU by layer of per-layer SAEs: every layer has its own slope."""
    return [0.5 * cost**slope for slope in (-0.2, -0.3, -0.5)]


COSTS = {FULL.name: 8.0, HALF.name: 5.0, TWICE.name: 14.0, NARROW.name: 6.0, SHARED.name: 6.5}
FVU = {arm.name: power_law(COSTS[arm.name]) for arm in ARMS}


@pytest.mark.parametrize("cost", [5.1, 6.5, 7.9, 8.1, 11.0, 13.9])
def test_where_fvu_is_a_power_of_cost_the_rival_is_met_exactly(cost):
    costs, fvu = COSTS | {SHARED.name: cost}, FVU | {SHARED.name: power_law(cost)}
    found = columns(SHARED, costs, fvu)
    assert found["excess_fvu_equal_seconds"] == pytest.approx(0, abs=1e-12)
    assert found["verdict_equal_seconds"] == "equivalent"


def test_by_hand():
    """At the geometric mean of 5 and 8 seconds the rival has the geometric mean of their FVU."""
    costs = COSTS | {SHARED.name: 40**0.5}
    fvu = FVU | {FULL.name: [0.1] * 3, HALF.name: [0.4] * 3, SHARED.name: [0.25] * 3}
    found = columns(SHARED, costs, fvu)
    # Seeds do the same to all arms, so that the interval has no width.
    ends = [found[f"excess_fvu_equal_seconds{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.25 / 0.2 - 1] * 3)
    assert found["verdict_equal_seconds"] == "worse"
    assert found["budget_equal_seconds"] == pytest.approx(0.5**0.5)


def test_costs_that_scatter_over_seeds_widen_the_interval():
    """Shared SAEs on the curve of per-layer ones cost 10 % more with one of two seeds."""
    spread = COSTS | {SHARED.name: (6.5, 6.5 * 1.1)}
    found = columns(SHARED, spread, FVU | {SHARED.name: power_law(6.5)})
    logs = np.array([0.0, np.log(1.1) * (0.2 + 0.3 + 0.5) / 3])  # by which the rival is better
    half = 12.706 * np.std(logs, ddof=1) / 2**0.5  # Student's t of one degree of freedom
    low, high = np.exp(logs.mean() - half) - 1, np.exp(logs.mean() + half) - 1
    assert found["excess_fvu_equal_seconds"] == pytest.approx(np.exp(logs.mean()) - 1)
    assert found["excess_fvu_equal_seconds_low"] == pytest.approx(low, rel=1e-4)
    assert found["excess_fvu_equal_seconds_high"] == pytest.approx(high, rel=1e-4)


@pytest.mark.parametrize("cost", [5.0, 4.96, 14.0, 14.1])
def test_an_arm_that_costs_what_an_end_does_has_a_rival(cost):
    found = columns(SHARED, COSTS | {SHARED.name: cost}, FVU | {SHARED.name: power_law(cost)})
    assert found["excess_fvu_equal_seconds"] == pytest.approx(0, abs=1e-12)
    assert found["budget_equal_seconds"] == pytest.approx(0.5 if cost < 6 else 2, rel=0.02)


@pytest.mark.parametrize(("twin", "cost"), [(HALF, 8.0), (HALF, 7.95), (TWICE, 8.0), (TWICE, 8.05)])
def test_lengths_of_one_cost_are_one_point(twin, cost):
    """Budgets of 0.333 and of a third come to as many steps: no line goes through the two."""
    costs = COSTS | {twin.name: 8.0, SHARED.name: cost}
    fvu = {arm.name: power_law(costs[arm.name]) for arm in ARMS}
    found = columns(SHARED, costs, fvu)
    assert found["excess_fvu_equal_seconds"] == pytest.approx(0, abs=1e-12)


def test_narrower_saes_have_such_a_rival_and_are_none():
    found = columns(NARROW, COSTS, FVU | {NARROW.name: [0.9 * each for each in power_law(6.0)]})
    assert found["excess_fvu_equal_seconds"] == pytest.approx(-0.1)
    without = columns(SHARED, COSTS, FVU | {NARROW.name: [1e-3] * 3})
    assert without["excess_fvu_equal_seconds"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("cost", [3.0, 4.9, 14.5, 100.0])
def test_nothing_is_extrapolated(cost):
    found = columns(SHARED, COSTS | {SHARED.name: cost}, FVU)
    assert np.isnan(found["excess_fvu_equal_seconds"])
    assert np.isnan(found["budget_equal_seconds"])
    assert found["verdict_equal_seconds"] is None


def test_between_lengths_that_all_cost_the_same_there_is_nothing():
    costs = COSTS | dict.fromkeys((FULL.name, HALF.name, TWICE.name, SHARED.name), 8.0)
    assert np.isnan(columns(SHARED, costs, FVU)["excess_fvu_equal_seconds"])


def test_per_layer_saes_are_no_rivals_of_themselves():
    for arm in (FULL, HALF, TWICE):
        found = columns(arm, COSTS, FVU)
        assert np.isnan(found["excess_fvu_equal_seconds"])
        assert found["verdict_equal_seconds"] is None


def test_seeds_that_one_arm_lacks_drop_out():
    fvu = FVU | {SHARED.name: [2 * each for each in power_law(6.5)]}
    costs = COSTS | {HALF.name: (5.0, np.nan), TWICE.name: (np.nan, 14.0)}
    found = columns(SHARED, costs, fvu, {HALF.name: [(0,)], TWICE.name: [(1,)]})
    assert found["excess_fvu_equal_seconds"] == pytest.approx(1)
    assert np.isnan(found["excess_fvu_equal_seconds_low"]), "one seed has no interval"
    assert found["verdict_equal_seconds"] == "undecided"
