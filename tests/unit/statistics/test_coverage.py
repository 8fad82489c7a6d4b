"""How often intervals of 95 % hold the truth: every kind that a table prints, in simulations.

Values are lognormal (FVU) or normal (nats, areas), with what seeds and layers (or prompts) do, and
three or five seeds. Coverage of 3000 draws has a standard error of 0.4 %.
"""

from collections.abc import Callable

import numpy as np
import pytest

from clustersae.statistics import intervals
from clustersae.statistics.crossed import Crossed, estimate
from clustersae.statistics.intervals import Estimate

N_DRAWS = 3000
N_LAYERS = 6
#: A trend in depth, as layers have it; layers of one loss; one layer apart from tied ones.
TREND = np.linspace(-0.1, 0.08, N_LAYERS)
TIED = np.zeros(N_LAYERS)
APART = np.where(np.arange(N_LAYERS) == 4, 0.08, 0.0)


def coverage(draw: Callable[[np.random.Generator], tuple[Estimate, float]]) -> float:
    """Share of draws whose interval holds the truth that `draw` returns beside an estimate."""
    generator = np.random.default_rng(0)
    found = [draw(generator) for _ in range(N_DRAWS)]
    held = [each.interval().low <= truth <= each.interval().high for each, truth in found]
    return float(np.mean(held))


def arms(generator, effects, n_seeds, shared=0.02, own=0.02, split=0.005):
    """FVU of an arm and of its baseline on both splits, each [n_layers, n_seeds].

    What training does is the same on both splits: `shared` by all layers of a seed, or a layer's
    `own`. Only `split` is each split's own.
    """
    shape = (N_LAYERS, n_seeds)
    baseline = np.exp(np.linspace(-4, -2, N_LAYERS)[:, None] + 0.1 * generator.normal(size=shape))
    logs = effects[:, None] + shared * generator.normal(size=(1, n_seeds))
    logs = logs + own * generator.normal(size=shape)
    splits = [logs + split * generator.normal(size=shape) for _ in range(2)]
    return [(baseline * np.exp(each), baseline) for each in splits]


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_the_excess_of_the_mean_over_layers(n_seeds):
    def draw(generator):
        (values, baseline), _ = arms(generator, TREND, n_seeds)
        return intervals.excess(values, baseline), float(np.expm1(TREND.mean()))

    assert 0.93 <= coverage(draw) <= 0.97


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("effects", [TREND, TIED, APART], ids=["trend", "tied", "apart"])
@pytest.mark.parametrize("split", [0.0, 0.02], ids=["same_errors", "errors_of_splits"])
def test_the_worst_layer_of_the_validation_split(n_seeds, effects, split):
    """Errors of training pick it as well, and are the same on both splits: at worst all of them."""

    def draw(generator):
        test, validation = arms(generator, effects, n_seeds, split=split)
        place = intervals.worst(intervals.log_ratios(*validation))
        return intervals.excess_of_worst(*test, place), float(np.expm1(effects[place]))

    assert 0.93 <= coverage(draw) <= 0.97


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_single_layers_and_all_of_them_after_holm(n_seeds):
    """Of no layer that loses nothing is it said that it does, but once in twenty."""
    generator = np.random.default_rng(0)
    held, wrong = [], 0
    for _ in range(N_DRAWS // 3):
        (values, baseline), _ = arms(generator, TIED, n_seeds, shared=0.0)
        found = [intervals.over_seeds(each) for each in intervals.log_ratios(values, baseline)]
        held += [each.interval().low <= 0 <= each.interval().high for each in found]
        wrong += intervals.holm([each.p_value() for each in found]).min() <= 0.05
    assert 0.93 <= np.mean(held) <= 0.97
    assert 0.03 <= wrong / (N_DRAWS // 3) <= 0.07


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_differences_of_cross_entropy(n_seeds):
    def draw(generator):
        own = 1.285 + 0.01 * generator.standard_normal(n_seeds)
        other = 1.292 + 0.003 * generator.standard_normal(n_seeds)
        return intervals.over_seeds(own - other), -0.007

    assert 0.93 <= coverage(draw) <= 0.97


def areas(n_groups, n_seeds, of_seeds, of_groups, of_both):
    """An arm's part in the gap of every prompt, in which prompts differ as well; the truth is 0.4.

    The three are standard deviations of what seeds, prompts and both together do.
    """

    def draw(generator):
        gap = 4 + 0.8 * generator.standard_normal((n_groups, 1)) + np.zeros((1, n_seeds))
        rise = 0.4 * gap + 0.4 * of_seeds * generator.standard_normal((1, n_seeds))
        rise += 0.4 * of_groups * generator.standard_normal((n_groups, 1))
        rise += 0.4 * of_both * generator.standard_normal((n_groups, n_seeds))
        return estimate([Crossed.ratio(rise, gap)]), 0.4

    return draw


@pytest.mark.parametrize(
    ("n_seeds", "parts"),
    [(3, (1, 1, 1)), (3, (1, 0, 1)), (5, (0.5, 1, 1)), (5, (1, 1, 1)), (5, (1, 0, 1))],
)
def test_areas_of_circuits(n_seeds, parts):
    assert 0.93 <= coverage(areas(24, n_seeds, *parts)) <= 0.97


@pytest.mark.parametrize("parts", [(0, 1, 0.5), (0.3, 1, 0.5), (0.5, 1, 1), (0, 0, 1)])
@pytest.mark.parametrize("n_groups", [12, 24])
def test_areas_hold_too_much_rather_than_too_little(n_groups, parts):
    """With three seeds that hardly differ, a part of what prompts do counts as theirs."""
    assert 0.94 <= coverage(areas(n_groups, 3, *parts)) <= 0.985


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_the_mean_area_of_several_tasks(n_seeds):
    """Seeds do the same on all tasks, prompts are each task's own."""

    def draw(generator):
        of_seeds = 0.1 * generator.standard_normal((1, n_seeds))
        ratios = []
        for _ in range(3):
            rise = 0.4 + of_seeds + 0.3 * generator.standard_normal((16, 1))
            rise = rise + 0.3 * generator.standard_normal((16, n_seeds))
            ratios.append(Crossed.ratio(rise, np.ones((16, n_seeds))))
        return estimate(ratios), 0.4

    assert 0.93 <= coverage(draw) <= 0.97
