"""Ratios of sums over layers and seeds: their intervals are those of the textbook."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clustersae.statistics.intervals import Bootstrap, Bootstrapping
from clustersae.statistics.ratios import Ratio

SETTINGS = Bootstrapping(200, 0)


def test_means_over_layers_have_the_intervals_of_the_bootstrap():
    generator = np.random.default_rng(0)
    one, other = (
        pd.DataFrame(generator.normal(size=(5, 3)), index=[0, 1, 2, 4, 6]) for _ in range(2)
    )
    bootstrap = Bootstrap(5, 3, *SETTINGS)
    ratio = Ratio.over_units(one)
    assert ratio.interval(SETTINGS) == pytest.approx(bootstrap.mean(one.to_numpy()))
    difference = ratio.minus(Ratio.over_units(other), SETTINGS)
    assert difference == pytest.approx(bootstrap.mean((one - other).to_numpy()))
    # Only what both have is compared, and an arm does not differ from itself.
    assert ratio.minus(Ratio.over_units(other[1:3]), SETTINGS).estimate == pytest.approx(
        (one - other)[1:3].to_numpy().mean()
    )
    assert ratio.minus(ratio, SETTINGS) == (0, 0, 0)


def of_seeds(sums, counts):
    return Ratio(*(pd.DataFrame([each], index=["all"], dtype=float) for each in (sums, counts)))


def test_seeds_alone_have_student_t_intervals():
    values, others = [0.1, 0.4, 0.7], [0.2, 0.1, 0.3]
    one, other = (of_seeds(each, [1, 1, 1]) for each in (values, others))
    assert one.interval(SETTINGS) == pytest.approx(stats_interval(values))
    paired = np.subtract(values, others)
    assert one.minus(other, SETTINGS) == pytest.approx(stats_interval(paired))
    assert one.p_value(other) == pytest.approx(stats.ttest_rel(values, others).pvalue)
    assert one.p_value(one) == 1
    # Equal counts of any size are the same, and a share cannot leave 0 to 1.
    many = of_seeds(np.multiply(values, 8), [8, 8, 8])._replace(within=(0, 1))
    estimate, low, high = many.interval(SETTINGS)
    assert (estimate, low, high) == pytest.approx((0.4, 0, 1))
    alone = of_seeds([0.1, 0], [1, 0])
    assert alone.interval(SETTINGS) == pytest.approx((0.1, np.nan, np.nan), nan_ok=True)
    assert np.isnan(alone.p_value(alone))


def stats_interval(values):
    ends = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return (np.mean(values), *ends)


def test_where_nothing_differs_one_interval_in_twenty_says_that_something_does():
    generator = np.random.default_rng(0)
    n_shown, n_rejected, n = 0, 0, 1500
    for _ in range(n):
        counts = generator.integers(15, 25, (2, 3))
        one, other = (of_seeds(generator.normal(5, 1, 3) * c, c) for c in counts)
        _, low, high = one.minus(other, SETTINGS)
        n_shown += low > 0 or high < 0
        n_rejected += one.p_value(other) < 0.05
    # A percentile bootstrap of three seeds says so in a quarter of cases.
    assert n_shown / n == pytest.approx(0.05, abs=0.017)
    assert n_rejected == n_shown
