import math

import numpy as np
import pytest
from circuit_areas import area, area_difference, area_interval

from clustersae.circuits.curves import (
    curve,
    log_sizes,
    log_weights,
    why_unusable,
)
from clustersae.circuits.faithfulness import Sweep
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import Bootstrap


def sweep_of(circuit, complement, empty, full, sizes=(1, 10, 100)):
    arrays = (np.array(part, dtype=np.float64) for part in (circuit, complement, empty, full))
    return Sweep(np.array(sizes), *arrays)


@pytest.fixture
def by_hand():
    """Two prompts; means m(∅) = 1 and m(M) = 5, so faithfulness is (mean − 1) / 4."""
    return sweep_of(
        circuit=[[1, 1], [2, 4], [5, 5]],
        complement=[[5, 5], [1, 3], [0, 0]],
        empty=[0, 2],
        full=[4, 6],
    )


def test_curves_and_areas_by_hand(by_hand):
    assert curve(by_hand, "faithfulness") == pytest.approx([0, 0.5, 1])
    assert curve(by_hand, "completeness") == pytest.approx([1, 0.25, -0.25])
    # Sizes are evenly spaced in the logarithm: weights 1/4, 1/2, 1/4.
    assert log_weights(by_hand.sizes) == pytest.approx([0.25, 0.5, 0.25])
    assert area(by_hand, "faithfulness") == pytest.approx(0.5)
    assert area(by_hand, "completeness") == pytest.approx(0.3125)


def test_a_constant_curve_has_its_height_as_area():
    for sizes in ([7], [1, 2], [1, 2, 3, 50, 1000]):
        assert log_weights(np.array(sizes)).sum() == pytest.approx(1)
    for sizes in ([0, 1], [1, 1], [5, 2]):
        with pytest.raises(InputError, match="ascending sizes from 1 on"):
            log_weights(np.array(sizes))


def test_without_a_gap_there_is_no_curve(by_hand):
    level = by_hand._replace(empty=by_hand.full)
    assert np.isnan(curve(level, "faithfulness")).all()


def test_sizes():
    assert log_sizes(1000, 4) == [1, 10, 100, 1000]
    assert log_sizes(5, 16) == [1, 2, 3, 4, 5]
    assert log_sizes(1, 16) == [1]
    sizes = log_sizes(2310, 16)
    assert (sizes[0], sizes[-1]) == (1, 2310)
    assert sizes == sorted(set(sizes))
    with pytest.raises(InputError, match="at least 1 and 2"):
        log_sizes(0, 16)


def random_sweeps(n_prompts, n_seeds, shift=0.0, spread=1.0):
    generator = np.random.default_rng(0)
    full, empty = generator.normal(5, spread, n_prompts), generator.normal(0, spread, n_prompts)
    return [
        sweep_of(
            generator.normal(2 + shift, spread, (3, n_prompts)),
            generator.normal(1, spread, (3, n_prompts)),
            empty,
            full,
        )
        for _ in range(n_seeds)
    ]


def test_the_interval_of_an_area():
    sweeps = random_sweeps(200, 3)
    bootstrap = Bootstrap(200, 3, 2000)
    found = area_interval(sweeps, "faithfulness", bootstrap)
    # All seeds share m(∅) and m(M), so the area over seeds is the mean of their areas.
    areas = [area(sweep, "faithfulness") for sweep in sweeps]
    assert found.estimate == pytest.approx(np.mean(areas))
    assert found.low < found.estimate < found.high
    assert found.low < 0.4 < found.high  # 2 of 5
    # By the law of large numbers the interval of 4 times the prompts is about half as wide.
    one, four = (
        area_interval(random_sweeps(n, 1), "faithfulness", Bootstrap(n, 1, 2000))
        for n in (200, 800)
    )
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.1)


def test_without_any_spread_the_interval_is_a_point():
    found = area_interval(random_sweeps(10, 2, spread=0), "completeness", Bootstrap(10, 2, 100))
    assert found == pytest.approx((0.2, 0.2, 0.2))
    assert math.isnan(area_interval(random_sweeps(1, 1), "completeness", Bootstrap(1, 1, 100)).low)


def test_a_difference_is_paired():
    bootstrap = Bootstrap(50, 2, 500)
    sweeps, better = random_sweeps(50, 2), random_sweeps(50, 2, shift=0.5)
    assert area_difference(sweeps, sweeps, "faithfulness", bootstrap) == pytest.approx((0, 0, 0))
    found = area_difference(better, sweeps, "faithfulness", bootstrap)
    # The same noise in both: all that differs is 0.5 of about 5.
    assert found.estimate == pytest.approx(0.1, abs=0.02)
    apart = area_interval(better, "faithfulness", bootstrap)
    assert found.high - found.low < 0.5 * (apart.high - apart.low)
    with pytest.raises(InputError, match="50 prompts and 2 seeds do not fit"):
        area_interval(sweeps, "faithfulness", Bootstrap(2, 50, 10))


def test_tasks_that_say_nothing():
    right, wrong = np.full(8, 2.0), np.full(2, -1.0)
    nothing = np.zeros(10)
    assert why_unusable(np.concatenate([right, wrong]), nothing) is None
    mostly_wrong = np.concatenate([right[:7], wrong, wrong[:1]])
    assert "prefers the answer on 70% of 10 prompts" in why_unusable(mostly_wrong, nothing)
    assert "less than 0.5 apart" in why_unusable(right, right - 0.4)
    assert why_unusable(right, right - 0.4, min_gap=0.3) is None
