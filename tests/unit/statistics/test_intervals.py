"""Student's t over seeds: estimates by hand, intervals as scipy has them."""

import numpy as np
import pytest
from scipy import stats

from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import (
    Estimate,
    Part,
    excess,
    excess_of_worst,
    holm,
    mean_of_layers,
    of_worst,
    over_seeds,
    worst,
)

#: Three layers, three seeds.
VALUES = np.array([[0.20, 0.22, 0.24], [0.30, 0.50, 0.40], [0.9, 0.8, 0.7]])


def test_the_interval_over_seeds_is_that_of_scipy():
    values = [0.1, 0.4, 0.3, 0.25]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = over_seeds(np.array(values))
    assert found.interval() == pytest.approx((np.mean(values), *expected))
    assert found.interval(0.9)[1:] == pytest.approx(
        stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    )
    for each in (found, over_seeds(-np.array(values))):
        assert each.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_layers_are_averaged_within_each_seed():
    by_seed = VALUES.mean(0)
    assert mean_of_layers(VALUES) == over_seeds(by_seed)
    # However far layers are apart, seeds alone make the interval.
    apart = VALUES + np.array([[0.0], [10.0], [100.0]])
    widths = [np.ptp(mean_of_layers(each).interval()[1:]) for each in (VALUES, apart)]
    assert widths[0] == pytest.approx(widths[1])


def test_excess_is_a_mean_of_logarithms():
    baseline = np.full((3, 3), 0.4)
    found = excess(VALUES, baseline).interval()
    by_seed = np.log(VALUES / 0.4).mean(0)
    expected = stats.t.interval(0.95, 2, by_seed.mean(), stats.sem(by_seed))
    assert found == pytest.approx((np.expm1(by_seed.mean()), *np.expm1(expected)))
    # The reverse says the same.
    reverse = excess(baseline, VALUES).interval()
    assert 1 + found.estimate == pytest.approx(1 / (1 + reverse.estimate))
    assert 1 + found.low == pytest.approx(1 / (1 + reverse.high))


def test_pairing_takes_away_what_arms_share():
    generator = np.random.default_rng(1)
    baseline = np.exp(generator.normal(size=(6, 1)) + 0.3 * generator.normal(size=(1, 3)))
    same = excess(1.05 * baseline, baseline).interval()
    assert same == pytest.approx((0.05, 0.05, 0.05))
    alone = over_seeds(np.log(baseline).mean(0)).interval()
    assert alone.high - alone.low > 0.1


def test_order_and_unit_change_nothing():
    baseline = np.linspace(0.1, 0.9, 9).reshape(3, 3)
    expected = excess(VALUES, baseline).interval()
    assert excess(3 * VALUES, 3 * baseline).interval() == pytest.approx(expected)
    assert excess(VALUES[::-1, ::-1], baseline[::-1, ::-1]).interval() == pytest.approx(expected)


def test_the_worst_layer_has_the_interval_of_its_own_seeds_longer_downwards():
    assert worst(VALUES) == 2
    own = over_seeds(VALUES[2]).interval()
    assert of_worst(VALUES, 2).interval() == pytest.approx(own)
    # Of six layers the lower side has half of the probability.
    six = np.vstack([VALUES, VALUES / 2])
    found = of_worst(six, worst(six)).interval()
    assert (found.estimate, found.high) == pytest.approx((own.estimate, own.high))
    ratio = stats.t.ppf(1 - 0.0125, 2) / stats.t.ppf(0.975, 2)
    assert found.estimate - found.low == pytest.approx(ratio * (own.estimate - own.low))
    relative = excess_of_worst(six, np.full((6, 3), 0.4), 2).interval()
    assert relative.estimate == pytest.approx(np.expm1(np.log(six[2] / 0.4).mean()))
    for several in (of_worst(VALUES[:2], 0), Estimate(1.0, (Part(1.0, 2), Part(1.0, 30)))):
        with pytest.raises(InputError, match="not searched"):
            several.p_value()


def test_one_seed_has_no_interval():
    alone = mean_of_layers(VALUES[:, :1])
    assert alone.value == pytest.approx(VALUES[:, 0].mean())
    assert np.isnan(alone.interval()[1:]).all()
    assert np.isnan(alone.p_value())


def test_seeds_that_agree_have_an_interval_of_no_width():
    found = over_seeds(np.full(3, 0.1))
    assert found.interval() == (0.1, 0.1, 0.1)
    assert (found.p_value(), over_seeds(np.zeros(3)).p_value()) == (0, 1)


def test_parts_of_a_variance_share_their_quantile():
    """Half of the variance each: the mean of both quantiles."""
    found = Estimate(1.0, (Part(2.0, 2), Part(2.0, 30))).interval()
    quantile = (stats.t.ppf(0.975, 2) + stats.t.ppf(0.975, 30)) / 2
    assert found.high == pytest.approx(1 + 2 * quantile)
    only = Estimate(1.0, (Part(0.0, 2), Part(4.0, 30))).interval()
    assert only.high == pytest.approx(1 + 2 * stats.t.ppf(0.975, 30))
    assert Estimate(1.0, (Part(0.0, 2), Part(0.0, 30))).interval() == (1, 1, 1)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([np.nan, 0.04]) == pytest.approx([np.nan, 0.04], nan_ok=True)
    assert len(holm([])) == 0


def test_bad_values_are_refused():
    for wrong in (np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))):
        with pytest.raises(InputError, match="one finite value per seed"):
            over_seeds(wrong)
    with pytest.raises(InputError, match=r"\(2, 2\) cannot be compared"):
        excess(np.ones((2, 2)), np.ones((2, 3)))
    for pair in ((np.ones((2, 2)), np.eye(2)), (np.eye(2), np.ones((2, 2)))):
        with pytest.raises(InputError, match="above zero"):
            excess(*pair)
