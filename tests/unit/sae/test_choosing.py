"""Which learning rate is taken of several."""

import math
import weakref
from types import SimpleNamespace

import pytest

from clustersae.sae.choosing import best_fit, converged
from clustersae.sae.fitting import Fit
from clustersae.sae.training import Diverged
from clustersae.sae.validation import Validation


def invented(rate, fvu, seconds, dead=0.0, l0=16.0, architecture="topk"):
    """A fit that is its own score."""
    settings = SimpleNamespace(learning_rate=rate, architecture=architecture, k=16, sparsity=3.0)
    return Fit(Validation(fvu, dead, l0), settings, 0, [], {"seconds": seconds})


def best_of(fits, max_dead=1.0):
    return best_fit(fits, lambda sae: sae, max_dead)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_best_fit_has_the_lowest_fvu_and_the_others_are_counted(order):
    fits = [invented(0.001, 0.3, 10.0), invented(0.01, 0.1, 20.0), invented(0.1, 0.2, 40.0)]
    best, scores, seconds = best_of(fits[i] for i in order)
    assert best is fits[1]
    assert {rate: each.fvu for rate, each in scores.items()} == {
        "0.001": 0.3,
        "0.01": 0.1,
        "0.1": 0.2,
    }
    assert seconds == 50


DYING = [(0.001, 0.3, 0.02), (0.003, 0.2, 0.10), (0.01, 0.1, 0.4), (0.03, 0.15, 0.3)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize(
    ("max_dead", "rate"),
    [
        (1.0, 0.01),  # no limit: the least FVU
        (0.3, 0.03),  # the limit itself is within it
        (0.1, 0.003),
        (0.05, 0.001),
        (0.01, 0.001),  # none is within it: the fewest dead latents
    ],
)
def test_a_rate_is_chosen_under_a_limit_on_dead_latents(order, max_dead, rate):
    fits = [invented(rate, fvu, 1.0, dead) for rate, fvu, dead in DYING]
    best, scores, _ = best_of((fits[i] for i in order), max_dead)
    assert best.settings.learning_rate == rate
    assert len(scores) == 4


def test_that_no_rate_keeps_to_the_limit_is_said(caplog):
    fits = [invented(rate, fvu, 1.0, dead) for rate, fvu, dead in DYING]
    best_of(fits, 0.1)
    assert "sae.max_dead" not in caplog.text
    best_of(fits, 0.01)
    assert "so few latents dead as sae.max_dead asks for (0.01)" in caplog.text


#: Rate, FVU, dead latents, L0 for k = 16: low rates leave few dead, since L0 has not arrived.
ARRIVING = [(0.002, 0.18, 0.0, 7.0), (0.004, 0.11, 0.6, 14.5), (0.008, 0.09, 0.8, 17.5)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize(
    ("architecture", "max_dead", "rate"),
    [
        ("jumprelu", 0.1, 0.004),  # 14.5 and 17.5 are within a tenth of k; the fewer dead of these
        ("jumprelu", 1.0, 0.008),
        ("relu", 0.1, 0.002),  # no L0 is aimed at
        ("batchtopk", 0.1, 0.002),  # L0 is k without a loss that brings it there
    ],
)
def test_where_a_loss_aims_at_l0_the_rates_that_reach_it_come_first(
    order, architecture, max_dead, rate
):
    fits = [invented(rate, fvu, 1.0, dead, l0, architecture) for rate, fvu, dead, l0 in ARRIVING]
    assert best_of((fits[i] for i in order), max_dead).fit.settings.learning_rate == rate


def test_of_rates_that_all_miss_l0_the_nearest_is_taken_and_that_is_said(caplog):
    def of(**misses):
        return best_of(
            invented(float(rate), 0.2, 1.0, 0.0, l0, "jumprelu") for rate, l0 in misses.items()
        ).fit.settings.learning_rate

    assert of(**{"0.1": 8.0, "0.2": 23.0, "0.3": 25.0}) == 0.2
    assert "does L0 come within 10 % of sae.k = 16; the rate that comes nearest" in caplog.text
    caplog.clear()
    assert of(**{"0.1": 8.0, "0.2": 17.0}) == 0.2
    assert "sae.k" not in caplog.text


def test_that_the_best_rate_lies_at_an_end_is_said(caplog):
    for fvus in ((1, 2, 3), (3, 2, 1), (2, 1, 3), (1, 2)):
        caplog.clear()
        best_of(invented(10.0**i, fvu, 1.0) for i, fvu in enumerate(fvus))
        is_said = "a better one may lie outside" in caplog.text
        assert is_said == (fvus in ((1, 2, 3), (3, 2, 1)))


def test_what_is_no_number_is_taken_last():
    fits = [invented(0.1, math.nan, 1.0), invented(0.01, 0.5, 1.0, dead=0.9)]
    for order in (fits, fits[::-1]):
        assert best_of(order, 0.1).fit is fits[1]


def test_of_equal_scores_the_first_is_taken():
    fits = [invented(0.1, 0.3, 1.0), invented(0.01, 0.3, 2.0)]
    best, _, seconds = best_of(fits)
    assert (best, seconds) == (fits[0], 2.0)


def test_a_single_fit_costs_no_tuning():
    only = invented(0.1, 0.3, 5.0, dead=0.5)
    assert best_of([only], 0.1) == (only, {"0.1": (0.3, 0.5, 16.0)}, 0.0)


def test_there_must_be_a_fit():
    with pytest.raises(ValueError, match="no fit"):
        best_of([])


def test_no_more_than_the_best_and_the_newest_are_held():
    alive = []

    def made(number):
        each = invented(10.0**-number, [0.1, 0.4, 0.3, 0.2][number], 1.0)
        alive.append(weakref.ref(each))
        assert sum(ref() is not None for ref in alive) <= 2
        return each

    best, _, _ = best_of(made(number) for number in range(4))
    assert best.settings.learning_rate == 1


def test_a_rate_that_diverges_is_left_out_and_all_of_them_are_an_error():
    def diverges():
        error = Diverged("FVU is nan")
        error.cost = {"seconds": 2.0}
        raise error

    lost = []
    assert list(converged([diverges, lambda: "fit", diverges], lost)) == ["fit"]
    assert lost == [{"seconds": 2.0}] * 2
    with pytest.raises(Diverged, match="FVU is nan"):
        list(converged([diverges, diverges], []))


def test_a_training_that_diverged_is_let_go_before_the_next():
    class Weights:
        pass

    held = []

    def diverges():
        own = Weights()
        held.append(weakref.ref(own))
        raise Diverged("FVU is nan")

    def fits():
        assert held[-1]() is None
        return "fit"

    assert list(converged([diverges, fits, diverges, fits], [])) == ["fit"] * 2
    assert len(held) == 2


def test_a_loss_without_weight_aims_at_nothing():
    fits = [invented(rate, fvu, 1.0, dead, l0, "jumprelu") for rate, fvu, dead, l0 in ARRIVING]
    for each in fits:
        each.settings.sparsity = 0.0
    assert best_of(fits, 0.1).fit is fits[0]
