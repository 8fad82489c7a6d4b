import numpy as np
import pytest

from clustersae.circuits.curves import curve, distances, log_sizes, log_weights, why_unusable
from clustersae.circuits.faithfulness import Sweep
from clustersae.circuits.needed import nodes_needed
from clustersae.runtime.errors import InputError


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


def test_curves_and_weights_by_hand(by_hand):
    assert curve(by_hand, "faithfulness") == pytest.approx([0, 0.5, 1])
    assert curve(by_hand, "completeness") == pytest.approx([1, 0.25, -0.25])
    # Sizes are evenly spaced in the logarithm: weights 1/4, 1/2, 1/4.
    assert log_weights(by_hand.sizes) == pytest.approx([0.25, 0.5, 0.25])


def test_a_constant_curve_has_its_height_as_area():
    for sizes in ([7], [1, 2], [1, 2, 3, 50, 1000]):
        assert log_weights(np.array(sizes)).sum() == pytest.approx(1)
    for sizes in ([0, 1], [1, 1], [5, 2]):
        with pytest.raises(InputError, match="ascending sizes from 1 on"):
            log_weights(np.array(sizes))


#: Faithfulness at 1, 10, 100 and 1,000 nodes → area and distance from 1, with weights 1/6, 1/3, 1/3
#: and 1/6: a curve that reaches 1, one that overshoots on the way, and one that first takes the
#: wrong sign. By area each looks better than the one before.
SHAPES = (
    ((0, 0.675, 1, 1), 0.725, 0.275),
    ((0, 0.675, 1.5, 1), 0.892, 0.442),
    ((0, -0.105, 2.2, 2.2), 1.065, 1.135),
)


@pytest.mark.parametrize(("shape", "area", "distance"), SHAPES)
@pytest.mark.parametrize("gap", [4.0, -2.0])
def test_overshooting_earns_nothing(shape, area, distance, gap):
    """Prompts stray from the curve, and what they stray cancels."""
    stray = np.array([0.3, -0.3])
    circuit = [1 + gap * value + stray for value in shape]
    sweep = sweep_of(circuit, circuit, np.ones(2), np.full(2, 1 + gap), (1, 10, 100, 1000))
    weights = log_weights(sweep.sizes)
    assert weights @ curve(sweep, "faithfulness") == pytest.approx(area, abs=5e-4)
    assert distances(sweep).mean() / gap == pytest.approx(distance, abs=5e-4)
    far = weights @ np.abs(1 - curve(sweep, "faithfulness"))
    assert distances(sweep).mean() / gap == pytest.approx(far)


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


def test_tasks_that_say_nothing():
    right, wrong = np.full(8, 2.0), np.full(2, -1.0)
    nothing = np.zeros(10)
    assert why_unusable(np.concatenate([right, wrong]), nothing) is None
    mostly_wrong = np.concatenate([right[:7], wrong, wrong[:1]])
    assert "prefers the answer on 70% of 10 prompts" in why_unusable(mostly_wrong, nothing)
    assert "less than 0.5 apart" in why_unusable(right, right - 0.4)
    assert why_unusable(right, right - 0.4, min_gap=0.3) is None


@pytest.mark.parametrize(
    ("faithfulness", "nodes"),
    [
        ((0, 0.5, 1), 10),
        ((0, 0.25, 0.75), 1000**0.5),  # halfway between 10 and 100 in log N
        ((0.6, 0.2, 1), 1),  # at the first size already
        ((0.1, 0.2, 0.49), np.nan),
        ((0, 0.9, 0.2), 10 ** (0.5 / 0.9)),  # the first time counts
    ],
)
def test_nodes_for_half_of_the_behaviour_by_hand(faithfulness, nodes):
    assert nodes_needed((1, 10, 100), faithfulness) == pytest.approx(nodes, nan_ok=True)
