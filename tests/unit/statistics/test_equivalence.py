"""Three words for a difference: what both tests and the interval have to say for each."""

import numpy as np
import pytest
from scipy import special, stats

from clustersae.statistics.equivalence import together, word
from clustersae.statistics.intervals import Estimate, Part, over_seeds

#: Half widths of 90 and 95 % intervals with two degrees of freedom and an error of one.
HALF_90, HALF_95 = stats.t.ppf(0.95, 2), stats.t.ppf(0.975, 2)


def estimate(value: float, error: float) -> Estimate:
    return Estimate(value, (Part(error**2, 2),))


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.0, 0.049 / HALF_90, "equivalent"),
        (0.0, 0.051 / HALF_90, "undecided"),
        (0.03, 0.001, "equivalent"),  # told from zero, and of no matter
        (-0.03, 0.001, "equivalent"),
        (0.06, 0.059 / HALF_95, "worse"),
        (0.06, 0.061 / HALF_95, "undecided"),
        (-0.06, 0.059 / HALF_95, "better"),
        (0.04, 0.0399 / HALF_95, "worse"),  # more than zero, and perhaps more than the margin
    ],
)
def test_words_follow_the_two_intervals(value, error, expected):
    assert word(estimate(value, error), 0.05) == expected


def test_more_of_what_is_good_is_better():
    assert word(estimate(0.2, 0.01), 0.05, "better") == "better"
    assert word(estimate(-0.2, 0.01), 0.05, "better") == "worse"


def test_without_a_margin_only_the_same_is_equivalent():
    assert word(estimate(0.01, 0.001)) == "worse"
    assert word(over_seeds(np.zeros(3))) == "equivalent"


def test_one_seed_decides_nothing():
    assert word(over_seeds(np.array([0.0])), 0.05) == "undecided"


def test_words_together():
    assert together("equivalent", "equivalent") == "equivalent"
    assert together("better", "worse") == "worse"
    assert together("equivalent", "undecided") == "undecided"
    assert together("better", "equivalent") == "better"


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("truth", [0.05, -0.05])
def test_what_differs_by_the_margin_is_called_equivalent_once_in_twenty(n_seeds, truth):
    """The level of the two tests, for differences that are measured well enough to pass."""
    generator = np.random.default_rng(0)
    values = truth + 0.005 * generator.standard_normal((20_000, n_seeds))
    half = special.stdtrit(n_seeds - 1, 0.95) * stats.sem(values, axis=1)
    expected = (abs(values.mean(1)) + half <= 0.05).mean()
    assert expected == pytest.approx(0.05, abs=0.006)
    words = [word(over_seeds(each), 0.05) for each in values[:2000]]
    found = np.equal(words, "equivalent")
    assert (found == (abs(values.mean(1)) + half <= 0.05)[:2000]).all()
