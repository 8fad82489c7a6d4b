import numpy as np
import pytest

from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import Bootstrap


def crossed(generator, n_layers, n_seeds, layer_sd=1.0, seed_sd=1.0, noise_sd=1.0):
    """Values with a true mean of 10 and effects of layers, of seeds and of their meeting."""
    return (
        10
        + layer_sd * generator.standard_normal((n_layers, 1))
        + seed_sd * generator.standard_normal((1, n_seeds))
        + noise_sd * generator.standard_normal((n_layers, n_seeds))
    )


@pytest.mark.parametrize("layers", ["mean", "worst"])
def test_constant_values_have_an_interval_of_no_width(layers):
    bootstrap = Bootstrap(5, 3, n_resamples=200)
    assert bootstrap.mean(np.full((5, 3), 0.25), layers) == pytest.approx((0.25, 0.25, 0.25))
    assert bootstrap.excess(np.full((5, 3), 0.3), np.full((5, 3), 0.2), layers) == pytest.approx(
        (0.5, 0.5, 0.5)
    )


def test_replicates_have_the_variance_of_the_crossed_bootstrap():
    # Counts of a resample of n have E[cc'] = I + (1 - 1/n) 11', so the variance of the weighted
    # mean w'Vu is a trace; it knows nothing of how the resamples are drawn.
    values = crossed(np.random.default_rng(3), 6, 4)
    second = [(np.eye(n) + (1 - 1 / n)) / n**2 for n in values.shape]
    variance = np.trace(second[0] @ values @ second[1] @ values.T) - values.mean() ** 2
    replicates = Bootstrap(6, 4, n_resamples=40_000)._replicates(values, "mean")
    assert replicates.var() == pytest.approx(variance, rel=0.03)
    assert replicates.mean() == pytest.approx(values.mean(), abs=4 * (variance / 40_000) ** 0.5)


def test_replicates_equal_means_of_explicit_resamples():
    values = crossed(np.random.default_rng(5), 4, 3)
    bootstrap = Bootstrap(4, 3, n_resamples=20)
    for b in range(20):
        rows = np.repeat(np.arange(4), np.rint(bootstrap.layer_weights[b] * 4).astype(int))
        columns = np.repeat(np.arange(3), np.rint(bootstrap.seed_weights[b] * 3).astype(int))
        assert len(rows) == 4
        assert len(columns) == 3
        assert bootstrap._replicates(values, "mean")[b] == pytest.approx(
            values[np.ix_(rows, columns)].mean()
        )
        assert bootstrap._replicates(values, "worst")[b] == pytest.approx(
            values[:, columns].mean(1).max()
        )


def test_the_interval_of_the_mean_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    bootstrap = Bootstrap(16, 12, n_resamples=400)
    trials = 500
    covered = 0
    for _ in range(trials):
        interval = bootstrap.mean(crossed(generator, 16, 12))
        covered += interval.low <= 10 <= interval.high
    # Binomial standard error 1 %; the percentile interval loses a few per cent at these sizes.
    assert 0.88 <= covered / trials <= 0.98


def test_pairing_narrows_a_comparison_of_arms_that_share_their_layers():
    generator = np.random.default_rng(1)
    baseline = crossed(generator, 12, 3, layer_sd=3, seed_sd=0.1, noise_sd=0.05)
    values = 1.05 * baseline + 0.02 * generator.standard_normal(baseline.shape)
    bootstrap = Bootstrap(12, 3)
    paired = bootstrap.excess(values, baseline)
    unpaired = (
        Bootstrap(12, 3, seed=1)._replicates(values, "mean")
        / Bootstrap(12, 3, seed=2)._replicates(baseline, "mean")
        - 1
    )
    low, high = np.quantile(unpaired, [0.025, 0.975])
    assert paired.low <= 0.05 <= paired.high
    assert paired.high - paired.low < (high - low) / 20


def test_excess_is_worked_by_hand():
    values = np.array([[0.22, 0.22], [0.30, 0.50]])
    baseline = np.array([[0.20, 0.20], [0.40, 0.40]])
    bootstrap = Bootstrap(2, 2)
    assert bootstrap.excess(values, baseline).estimate == pytest.approx(0.31 / 0.30 - 1)
    worst = bootstrap.excess(values, baseline, "worst")
    # Layer 0 is 10 % worse; layer 1 is 25 % better or worse, by the seeds that were drawn.
    assert worst.estimate == pytest.approx(0.10)
    assert worst == pytest.approx((0.10, 0.10, 0.25))


def test_scaling_both_arms_changes_no_excess_and_order_changes_nothing():
    generator = np.random.default_rng(2)
    values, baseline = crossed(generator, 7, 3), crossed(generator, 7, 3)
    bootstrap = Bootstrap(7, 3, n_resamples=500)
    for layers in ("mean", "worst"):
        expected = bootstrap.excess(values, baseline, layers)
        assert bootstrap.excess(3 * values, 3 * baseline, layers) == pytest.approx(expected)
        # The worst of the layers does not depend on how they are numbered.
        shuffled = generator.permutation(7)
        if layers == "worst":
            assert bootstrap.excess(values[shuffled], baseline[shuffled], layers) == expected
    assert Bootstrap(7, 3, n_resamples=500).mean(values) == bootstrap.mean(values)
    assert Bootstrap(7, 3, n_resamples=500, seed=9).mean(values) != bootstrap.mean(values)


def test_the_interval_of_the_worst_layer_is_around_it_and_needs_seeds():
    values = np.linspace(0.1, 0.6, 6)[:, None] + 0.01 * np.random.default_rng(4).standard_normal(
        (6, 5)
    )
    interval = Bootstrap(6, 5).mean(values, "worst")
    # Resampling layers too would put the lower end near the second or third worst layer, 0.4.
    assert 0.58 < interval.low < interval.estimate < interval.high < 0.62
    assert np.isnan(Bootstrap(6, 1).mean(values[:, :1], "worst").low)
    assert np.isfinite(Bootstrap(6, 1).mean(values[:, :1]).low)
    assert np.isnan(Bootstrap(1, 1).mean(values[:1, :1]).high)


def test_bad_values_are_refused():
    bootstrap = Bootstrap(2, 2, n_resamples=10)
    with pytest.raises(InputError, match=r"shape \(3, 2\)"):
        bootstrap.mean(np.ones((3, 2)))
    with pytest.raises(InputError, match="finite"):
        bootstrap.mean(np.array([[1.0, np.nan], [1.0, 1.0]]))
    with pytest.raises(InputError, match="above zero"):
        bootstrap.excess(np.ones((2, 2)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="at least one"):
        Bootstrap(0, 3)
