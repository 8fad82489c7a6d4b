"""Prompts × seeds: estimates are ratios of sums, variances those of the two-way table."""

import numpy as np
import pytest
from scipy import stats

from clustersae.runtime.errors import InputError
from clustersae.statistics.crossed import Crossed, estimate


def made(n_groups=12, n_seeds=3, seed=0):
    generator = np.random.default_rng(seed)
    gap = 4 + generator.standard_normal((n_groups, 1)) + np.zeros((n_groups, n_seeds))
    rise = 0.4 * gap + 0.3 * generator.standard_normal((n_groups, n_seeds))
    return rise + 0.2 * generator.standard_normal((1, n_seeds)), gap


def test_the_value_is_a_ratio_of_sums_and_errors_add_up_to_nothing():
    rise, gap = made()
    ratio = Crossed.ratio(rise, gap)
    assert ratio.value == pytest.approx(rise.sum() / gap.sum())
    assert ratio.errors.mean() == pytest.approx(0, abs=1e-12)
    assert ratio.minus(ratio) == (0, pytest.approx(0))
    assert estimate([ratio.minus(ratio)]).interval() == (0, 0, 0)


def test_seeds_that_differ_alike_on_all_prompts_have_student_t():
    rise = np.array([[0.3, 0.5, 0.4]]).repeat(10, axis=0)
    found = estimate([Crossed.ratio(rise, np.ones((10, 3)))]).interval()
    expected = stats.t.interval(0.95, 2, 0.4, stats.sem(rise[0]))
    assert found == pytest.approx((0.4, *expected))


def test_prompts_alike_in_all_seeds_have_student_t_over_prompts():
    values = np.linspace(0, 1, 9) ** 2
    rise = values[:, None].repeat(3, axis=1)
    found = estimate([Crossed.ratio(rise, np.ones((9, 3)))]).interval()
    expected = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert found == pytest.approx((values.mean(), *expected))
    # The same of what has no seeds; one seed of what has them decides nothing.
    once = Crossed.ratio(rise[:, :1], np.ones((9, 1)))
    assert estimate([once], has_seeds=False).interval() == pytest.approx(found)
    assert np.isnan(estimate([once]).interval().low)


def test_parts_by_hand():
    """Three prompts 2, 0 and −2 off, two seeds ±1, and ±1 for what two prompts do with a seed."""
    both = np.array([[1, -1], [-1, 1], [0, 0]])
    rise = 5 + np.array([[2], [0], [-2]]) + [[1, -1]] + both
    ratio = Crossed.ratio(2 * rise, np.full((3, 2), 2.0))
    # Of seeds 2 / 2; of prompts 8 / 6, less 4 / 12.
    assert estimate([ratio]).parts == pytest.approx(np.array([(1, 1), (1, 2)]))
    # Of two tasks that seeds do the same to, all of the first part is left, and of the other half.
    parts = estimate([ratio, ratio]).parts
    assert parts == pytest.approx(np.array([(1, 1), (0.25, 2), (0.25, 2)]))
    # With a third seed between the two: 2 / 6, and 8 / 6 less 4 / 36.
    third = np.insert(rise, 1, rise.mean(1), axis=1)
    parts = estimate([Crossed.ratio(third, np.ones((3, 3)))]).parts
    assert parts == pytest.approx(np.array([(1 / 3, 2), (11 / 9, 2)]))


def test_the_variance_is_that_of_the_two_way_table():
    """Its expectation over many tables, against that of the mean of known components."""
    generator = np.random.default_rng(2)
    shape, of_seeds, of_groups, of_both = (15, 4), 0.3, 0.7, 0.5
    variances = []
    for _ in range(3000):
        rise = 5 + of_both * generator.standard_normal(shape)
        rise += of_seeds * generator.standard_normal((1, 4))
        rise += of_groups * generator.standard_normal((15, 1))
        variances.append(estimate([Crossed.ratio(rise, np.ones(shape))]).variance)
    expected = of_seeds**2 / 4 + of_groups**2 / 15 + of_both**2 / 60
    assert np.mean(variances) == pytest.approx(expected, rel=0.05)


def test_what_has_no_seeds_is_compared_with_every_seed():
    rise, gap = made()
    once = Crossed.ratio(0.5 * gap[:, :1], gap[:, :1])
    difference = Crossed.ratio(rise, gap).minus(once)
    assert difference.errors.shape == rise.shape
    assert estimate([difference]).value == pytest.approx(rise.sum() / gap.sum() - 0.5)


def test_tasks_are_no_sample_and_their_prompts_are_apart():
    ratios = [Crossed.ratio(*made(n_groups, seed=n_groups)) for n_groups in (12, 20)]
    both, single = estimate(ratios), [estimate([each]) for each in ratios]
    assert both.value == pytest.approx(np.mean([each.value for each in single]))
    assert [part.freedom for part in both.parts] == [2, 11, 19]
    assert [part.variance for part in both.parts[1:]] == pytest.approx(
        [each.parts[1].variance / 4 for each in single]
    )


def test_what_cannot_be_told_has_no_interval():
    rise, gap = made()
    assert np.isnan(estimate([Crossed.ratio(rise, gap * np.nan)]).value)
    assert np.isnan(estimate([Crossed.ratio(rise[:1], gap[:1])]).interval().low)
    assert np.isfinite(estimate([Crossed.ratio(rise[:2], gap[:2])]).interval().low)
    with pytest.raises(InputError, match=r"\(3, 3\) do not fit gaps of \(12, 3\)"):
        Crossed.ratio(rise[:3], gap)
