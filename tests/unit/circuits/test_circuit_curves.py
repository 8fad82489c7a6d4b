import numpy as np
import pytest

from clustersae.circuits.curves import curve, log_sizes, log_weights, why_unusable
from clustersae.circuits.faithfulness import Sweep
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
