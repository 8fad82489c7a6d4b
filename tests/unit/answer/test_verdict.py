"""What the verdict says of specialised arms and of convergence, from tables written by hand."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clustersae.answer.verdict import verdict
from clustersae.presentation.judging import judged_excess
from clustersae.presentation.rivals import at_equal_training, best_by_budget
from clustersae.presentation.shown import start_key, start_of
from clustersae.presentation.words import interval_text, percent, share

N_LAYERS = 5
PARTITIONS = {"complete-3": {"clusters": ["0-1", "2-3", "4"]}}


def arm(
    name: str,
    role: str,
    matched_count: float,
    excess: float,
    width: float = 0.01,
    validation: float | None = None,
    validation_mean: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A row of arms.csv; the worst layer loses 0.02 more than the mean."""
    partition, _, variant = name.partition(" ")
    return {
        "arm": name,
        "partition": partition,
        "variant": variant.strip("()") or "base",
        "method": "specialised" if role == "specialised" else partition.rsplit("-", 1)[0],
        "role": role,
        "count": 3 if role == "main" else N_LAYERS,
        "matched_count": matched_count,
        "chosen": False,
        "n_layers": N_LAYERS,
        "n_seeds": 3,
        "fvu": 0.1 * (1 + excess),
        "excess_fvu": excess,
        "excess_fvu_low": excess - width,
        "excess_fvu_high": excess + width,
        "excess_fvu_worst": excess + 0.02,
        "excess_fvu_validation": excess if validation_mean is None else validation_mean,
        "excess_fvu_worst_validation": excess + 0.02 if validation is None else validation,
        "worst_excess_layer": 4,
        "cost_relative": 0.1 + 0.9 * matched_count / N_LAYERS,
        "cost_relative_predicted": 0.1 + 0.9 * matched_count / N_LAYERS,
        "delta_ce_all": np.nan,
    } | more


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    base = arm("per-layer", "baseline", N_LAYERS, 0.0, 0.0)
    return pd.DataFrame([base, *rows])


def against(arms: pd.DataFrame) -> pd.DataFrame:
    """Rows of comparisons.csv: every specialised arm over every per-layer arm."""
    rivals = arms[arms["partition"] == "per-layer"]
    rows = [
        {
            "arm": own["arm"],
            "against": rival["arm"],
            "role": rival["role"],
            "matched_count": own["matched_count"],
            "against_matched_count": rival["matched_count"],
            "n_layers": N_LAYERS,
            "n_seeds": 3,
            **_excess(own["fvu"] / rival["fvu"] - 1),
            "cost_ratio": own["cost_relative"] / rival["cost_relative"],
        }
        for _, own in arms[arms["role"] == "specialised"].iterrows()
        for _, rival in rivals.iterrows()
    ]
    columns = ["arm", "against", "role", "matched_count", "against_matched_count", "n_layers"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def _excess(value: float) -> dict[str, float]:
    return {
        "excess_fvu": value,
        "excess_fvu_low": value - 0.01,
        "excess_fvu_high": value + 0.01,
        "excess_fvu_worst": value + 0.02,
    }


def said(arms: pd.DataFrame, tolerance: float = 0.1, **pilots: Any) -> str:
    return re.sub(r"\s+", " ", verdict(arms, against(arms), PARTITIONS, tolerance, **pilots))


SHORT = arm("per-layer (tokens-2of5)", "equal-compute", 2, 0.25)
ONE = "per-layer@single (tokens-1of5@base)"
THREE = "per-layer@complete-3 (tokens-1of5@tokens-1of3)"
MORE = "per-layer@complete-3 (tokens-3of10@tokens-1of2)"


def test_without_specialised_arms_nothing_is_said_of_them():
    text = said(table(SHORT, arm("complete-3", "main", 3, 0.05)))
    assert "specialis" not in text
    assert "The closest is K = 3" in text


def test_the_smallest_budget_within_the_tolerance_stands_with_its_best_start():
    arms = table(
        SHORT,
        arm("per-layer@single (tokens-1of10@tokens-1of2)", "specialised", 1, 0.3),
        arm(ONE, "specialised", 2, 0.08, validation=0.09),
        arm(THREE, "specialised", 1.999, 0.05, validation=0.06),
        arm(MORE, "specialised", 3, -0.05),
    )
    assert specialised_arm(arms, 0.1)["arm"] == THREE
    assert specialised_arm(arms, 0.05)["arm"] == MORE
    # Nothing is within -10 %: the closest.
    assert specialised_arm(arms, -0.1)["arm"] == MORE
    assert judged_excess(specialised_arm(arms, -0.1)) == pytest.approx(-0.03)
    # Roundings of 1.999 and 2 are one budget.
    assert list(best_by_budget(arms)["matched_count"]) == [1, 1.999, 3]
    # Choice is on validation, not on the test split.
    swapped = arms.assign(
        excess_fvu_worst_validation=arms["excess_fvu_worst_validation"].where(
            arms["arm"] != ONE, 0.01
        )
    )
    assert specialised_arm(swapped, 0.1)["arm"] == ONE


def test_a_win_at_equal_training_and_a_loss_to_full_training_are_both_said():
    text = said(table(SHORT, arm(THREE, "specialised", 2, 0.05, validation=0.06)))
    assert "(from 3 SAEs), SAEs need 40 % of the training of full per-layer SAEs" in text
    assert "keeps the worst layer within 10 % on the validation split (+6.0 % there)" in text
    # 1.05 / 1.25 - 1 = -16 %.
    assert (
        "Against per-layer SAEs of equal training, specialising wins in mean FVU (−16.0 %, 95 %"
        " interval −17.0 % to −15.0 %; worst layer −14.0 %; measured cost ratio 1.00)." in text
    )
    assert (
        "Against full per-layer training, specialising loses in mean FVU (+5.0 %, 95 % interval"
        " +4.0 % to +6.0 %; worst layer +7.0 %), at 46 % of the measured cost." in text
    )
    # Of the only ones there are no more is to be said.
    assert "No specialised SAEs" not in text


@pytest.mark.parametrize(
    ("rival", "words"),
    [(0.05, "their mean FVU is not distinguishable (0.0 %"), (0.0, "specialising loses in mean")],
)
def test_no_win_is_called_one(rival, words):
    short = arm("per-layer (tokens-2of5)", "equal-compute", 2, rival)
    text = said(table(short, arm(THREE, "specialised", 2, 0.05)))
    assert f"Against per-layer SAEs of equal training, {words}" in text
    assert "wins" not in text


def test_it_is_said_where_full_quality_begins_if_the_chosen_budget_lacks_it():
    chosen = arm(THREE, "specialised", 2, 0.05)
    text = said(table(SHORT, chosen, arm(MORE, "specialised", 3, -0.03)))
    assert (
        "The smallest budget tried that reaches its mean FVU on the validation split is 60 % of the"
        " training (from 3 SAEs: −3.0 % on the test split, 95 % interval −4.0 % to −2.0 %)." in text
    )
    # Where the interval of the chosen one holds zero there is no more to say.
    text = said(table(SHORT, arm(THREE, "specialised", 2, 0.005), arm(MORE, "specialised", 3, -1)))
    assert "Against full per-layer training, their mean FVU is not distinguishable" in text
    assert "reaches" not in text


def test_full_quality_is_neither_an_interval_that_holds_zero_nor_picked_on_the_test_split():
    chosen = arm(THREE, "specialised", 2, 0.05)
    none = "No specialised SAEs, up to 60 % of the training, reach its mean FVU on the validation"
    wide = arm(MORE, "specialised", 3, 0.02, width=0.5)
    assert none in said(table(chosen, wide))
    lucky = arm(MORE, "specialised", 3, -0.02, validation_mean=0.01)
    assert none in said(table(chosen, lucky))
    unlucky = arm(MORE, "specialised", 3, 0.02, validation_mean=-0.01)
    assert "is 60 % of the training (from 3 SAEs: +2.0 % on the test split" in said(
        table(chosen, unlucky)
    )
    untold = {"excess_fvu_validation": np.nan, "excess_fvu_worst_validation": np.nan}
    rows = table(chosen, arm(MORE, "specialised", 3, -0.02)).assign(**untold)
    assert "on the test split is 60 % of the training (from 3 SAEs: −2.0 %, 95 %" in said(rows)


def test_no_budget_is_enough_and_no_rival_was_trained():
    text = said(table(arm(ONE, "specialised", 2, 0.3)))
    assert "did not keep the worst layer within 10 % on the validation split at any" in text
    assert "40 % of the training of full per-layer SAEs (from 1 SAE, +32 % there)." in text
    assert "No per-layer SAEs of equal training stand beside it." in text
    assert "No partition with fewer SAEs than layers was evaluated." in text


@pytest.mark.parametrize(
    ("target", "within"),
    [
        (0.02, "the least training within the target of 2 %"),
        (0.005, "which is not within the target of 0.5 % but the closest to it"),
    ],
)
def test_what_pilots_proposed_stands_beside_what_came_of_it(target, within):
    pilot = {
        **{"from": 3, "budget": 0.4, "target": target, "within_target": target > 0.01},
        "pilot_fraction": 0.1,
        "candidates": [
            {"from": 1, "budget": 0.4, "excess_fvu": 0.03},
            {"from": 3, "budget": 0.4, "excess_fvu": 0.01},
            {"from": 3, "budget": 0.2, "excess_fvu": 0.2},
        ],
    }
    arms = table(SHORT, arm(THREE, "specialised", 2, 0.05), arm("complete-3", "main", 3, 0.1))
    text = said(arms, specialised_pilot=pilot)
    assert (
        "Of 3 ways to share first and then specialise to each layer, pilot trainings (10 % of the"
        " activations) proposed 40 % of the training of full per-layer SAEs (from 3 SAEs),"
        f" {within}: mean FVU +1.0 % against per-layer pilots on the validation split; the cost of"
        " the pilots is part of that of the specialised SAEs." in text
    )
    assert (
        "Against full per-layer training, specialising loses in mean FVU (+5.0 % where the target"
        f" was {share(target)}, 95 % interval +4.0 % to +6.0 %" in text
    )
    assert "equal training, specialising wins in mean FVU (−16.0 %, 95 %" in text
    for claim in ("smallest budget", "budget tried", "No specialised SAEs"):
        assert claim not in text


def test_rivals_of_equal_training_are_neither_narrower_nor_shared():
    arms = table(SHORT, arm(ONE, "specialised", 2, 0.1))
    rows = against(arms)
    other = rows.assign(against="per-layer (narrower-2of5)", against_matched_count=2.0)
    shared = rows.assign(against="complete-2", against_matched_count=2.0)
    every = pd.concat([rows, other, shared, rows.assign(arm="complete-2")])
    assert list(at_equal_training(every)["against"]) == ["per-layer (tokens-2of5)"]
    assert list(at_equal_training(every)["arm"]) == [ONE]


def test_convergence_is_judged_by_per_layer_saes_of_another_length():
    far = "Training is far from converged: per-layer SAEs on 80 % of the activations have 15.0 %"
    shorter = (SHORT, arm("per-layer (tokens-4of5)", "equal-compute", 4, 0.15))
    assert far in said(table(*shorter))
    # Specialised arms' variants begin alike, and are no per-layer SAEs of some length.
    assert far in said(table(*shorter, arm(MORE, "specialised", 4.5, 0.5)))
    settled = (SHORT, arm("per-layer (tokens-4of5)", "equal-compute", 4, 0.05))
    assert "converged" not in said(table(*settled))
    longer = arm("per-layer (tokens-2of1)", "equal-compute", 10, -0.12)
    text = said(table(*settled, longer))
    assert "not converged: per-layer SAEs on 200 % of the activations have 12.0 % less FVU" in text
    assert "have −" not in text
    still = arm("per-layer (tokens-2of1)", "equal-compute", 10, -0.01)
    assert "converged" not in said(table(*shorter, still))


def test_lengths_are_no_equal_compute_of_some_number_of_saes():
    odd = arm("per-layer (tokens-1of4)", "equal-compute", 1.25, 0.3)
    longer = arm("per-layer (tokens-2of1)", "equal-compute", 10, -0.02)
    text = said(table(odd, longer, arm("complete-3", "main", 3, 0.05)))
    assert "No arm of equal compute was trained, so whether sharing beats it is open." in text
    text = said(table(odd, SHORT, longer, arm("complete-3", "main", 3, 0.05)))
    assert "Arms of equal compute were trained for K = 2 only" in text


def test_starts_are_named_and_ordered_by_their_roots():
    names = ["per-layer@complete-tree", "per-layer@complete-12", "per-layer@single"]
    names.append("per-layer@complete-3")
    ordered = sorted(names, key=start_key)
    words = ["from 1 SAE", "from 3 SAEs", "from 12 SAEs", "down the tree"]
    assert [start_of(name) for name in ordered] == words


def test_numbers_in_words():
    assert [share(value) for value in (0.15, 0.4, 2, 0.125)] == ["15 %", "40 %", "200 %", "12.5 %"]
    assert percent(-0.0412, True) == "−4.1 %"
    assert interval_text(np.nan, 0.1) == "no interval"
