"""Ratios of sums over units and seeds: their intervals are those of the textbook."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clustersae.statistics.ratios import Ratio


def of_seeds(sums, counts):
    return Ratio(*(pd.DataFrame([each], index=["all"], dtype=float) for each in (sums, counts)))


def stats_interval(values):
    ends = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return (np.mean(values), *ends)


def test_units_are_averaged_within_each_seed():
    generator = np.random.default_rng(0)
    one, other = (
        pd.DataFrame(generator.normal(size=(5, 3)), index=[0, 1, 2, 4, 6]) for _ in range(2)
    )
    ratio = Ratio.over_units(one)
    assert ratio.interval() == pytest.approx(stats_interval(one.mean()))
    difference = ratio.minus(Ratio.over_units(other)).interval()
    assert difference == pytest.approx(stats_interval((one - other).mean()))
    # Only what both have is compared, and an arm does not differ from itself.
    some = ratio.minus(Ratio.over_units(other[1:3])).interval()
    assert some == pytest.approx(stats_interval((one - other)[1:3].mean()))
    assert ratio.minus(ratio).interval() == (0, 0, 0)
    assert np.isnan(ratio.minus(Ratio.over_units(other[:0])).value)


def test_seeds_have_student_t_intervals():
    values, others = [0.1, 0.4, 0.7], [0.2, 0.1, 0.3]
    one, other = (of_seeds(each, [1, 1, 1]) for each in (values, others))
    assert one.interval() == pytest.approx(stats_interval(values))
    paired = np.subtract(values, others)
    assert one.minus(other).interval() == pytest.approx(stats_interval(paired))
    assert one.minus(other).p_value() == pytest.approx(stats.ttest_rel(values, others).pvalue)
    assert one.minus(one).p_value() == 1
    # A seed that one of them has nothing from is in neither.
    fewer = one.minus(of_seeds([0.2, 0.1, 0], [1, 1, 0]))
    assert fewer.interval() == pytest.approx(stats_interval(paired[:2]))
    # Equal counts of any size are the same, and a share cannot leave 0 to 1.
    many = of_seeds(np.multiply(values, 8), [8, 8, 8])._replace(within=(0, 1))
    estimate, low, high = many.interval()
    assert (estimate, low, high) == pytest.approx((0.4, 0, 1))
    alone = of_seeds([0.1, 0], [1, 0])
    assert alone.interval() == pytest.approx((0.1, np.nan, np.nan), nan_ok=True)
    assert np.isnan(alone.minus(alone).p_value())


def test_rows_of_a_seed_count_as_often_as_they_weigh():
    """By hand: 1 + 6 of 2 + 6 in the first seed, 1 of 4 in the second, nothing in the third."""
    table = [(5, 0.5, 2), (5, 1.0, 6), (3, 0.25, 4), (3, np.nan, 100)]
    rows = pd.DataFrame(table, columns=["seed", "share", "n"])
    weighed = Ratio.pooled(rows, "share", "n", [5, 3, 9], most=1)
    assert weighed.sums.loc["all"].tolist() == [7, 1, 0]
    assert weighed.counts.loc["all"].tolist() == [8, 4, 0]
    assert weighed.interval() == pytest.approx((8 / 12, 0, 1))
    alike = Ratio.pooled(rows, "share", None, [5, 3, 9])
    assert alike.counts.loc["all"].tolist() == [2, 1, 0]
    assert alike.interval().low == 0
    assert alike.interval().high > 1


def test_where_nothing_differs_one_interval_in_twenty_says_that_something_does():
    generator = np.random.default_rng(0)
    n_shown, n_rejected, n = 0, 0, 1500
    for _ in range(n):
        counts = generator.integers(15, 25, (2, 3))
        one, other = (of_seeds(generator.normal(5, 1, 3) * c, c) for c in counts)
        difference = one.minus(other)
        _, low, high = difference.interval()
        n_shown += low > 0 or high < 0
        n_rejected += difference.p_value() < 0.05
    # A percentile bootstrap of three seeds says so in a quarter of cases.
    assert n_shown / n == pytest.approx(0.05, abs=0.017)
    assert n_rejected == n_shown
