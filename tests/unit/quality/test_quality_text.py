"""What the verdict says of quality and cost: rivals, caveats, and each arm at length."""

import numpy as np
import pandas as pd
from written_findings import arm
from written_verdicts import HALF, ONE, QUESTIONS, SHARED, THREE, findings, lines, long

from clustersae.answer import verdict
from clustersae.answer.ranking import headline
from clustersae.quality import text

FORWARDS = ("transfer-forwards (tokens-3of8~base)", "rival", 2.5)
ALL = ("single (mlsae-1of2)", "rival", 2.5)
OF_FORWARDS, OF_ALL = {"method": "transfer-forwards"}, {"method": "mlsae", "count": 1}


def test_of_full_per_layer_saes_cross_entropy_is_said_once():
    found = findings(arm(SHARED, 0.5))
    assert text.line(found) == ""
    found.tables["arms"].loc[0, ["ce_all", "ce_clean"]] = 1.3, 1.2
    assert text.line(found) == "Cross-entropy (nats): arm 1 1.300; without SAEs 1.200"
    # Of two arms either may not have been measured: then nothing is said.
    for each in (found, findings(arm(SHARED, 0.01, ce_all=1.4))):
        assert "spliced at once, cross-entropy" not in long(each)
    assert text.line(each) == ""


def test_caveats_are_of_the_best_arm():
    caveat = "no per-layer rival of equal training"
    apart = findings(arm(HALF, 0.2), arm(ONE, 0.2), arm(SHARED, 0.01))
    assert caveat in text.caveats(apart), "others have one"
    assert caveat not in text.caveats(findings(arm(HALF, 0.01)))
    more = text.caveats(findings(arm(ONE, 0.03, dead_fraction=0.62)))
    assert "62 % of latents dead (per-layer 40 %)" in more


def test_an_interval_that_holds_zero_is_neither_a_win_nor_parity():
    found = findings(arm(HALF, 0.2), arm(ONE, 0.01, width=0.05))
    assert "mean FVU +1.0 % [−4.0 to +6.0 %] (undecided)" in long(found)
    bare = findings(arm(HALF, 0.2), arm(ONE, 0.01, width=np.nan))
    assert "mean FVU +1.0 % (undecided)" in long(bare)
    for each in (found, bare):
        for claim in ("not distinguishable", "no difference", "as good", "equal quality", "nan"):
            assert claim not in verdict.short(each, QUESTIONS).text() + long(each)


def test_the_same_saes_are_no_rival():
    found = findings(arm(HALF, 0.2), arm(ONE, 0.03))
    rows = found.tables["comparisons"]
    ends = ["excess_fvu", "excess_fvu_low", "excess_fvu_high"]
    rows.loc[rows["against"] == HALF[0], ends] = 0.0
    assert "Against per-layer at 50 %: the same SAEs, cost ratio 1.00." in long(found)
    # Of one seed there are no intervals.
    rows.loc[rows["against"] == HALF[0], ends[1:]] = np.nan
    assert "Against per-layer at 50 %: the same SAEs, cost ratio 1.00." in long(found)


def test_no_dead_latents_are_no_caveat():
    found = findings(arm(HALF, 0.05), arm(ONE, 0.03, dead_fraction=0.0))
    assert "0 % of latents dead (per-layer 40 %)" in text.caveats(found)
    found.tables["arms"]["dead_fraction"] = 0.0
    assert not any("dead" in each for each in text.caveats(found))


def test_caveats():
    found = findings(arm(HALF, 0.05), arm(ONE, 0.03, dead_fraction=0.551))
    assert text.caveats(found) == ["few seeds (3)", "55 % of latents dead (per-layer 40 %)"]
    assert "55 % of the latents are dead on 40,000 held-out tokens, of full per-layer" in long(
        found
    )
    alone = findings(arm(ONE, 0.03, n_seeds=1))
    assert text.caveats(alone)[:2] == [
        "only 1 seed: no intervals, so nothing is decided",
        "no per-layer rival of equal training",
    ]
    assert "Only 1 seed: there are no intervals, and nothing is decided;" in long(alone)
    many = findings(arm(HALF, 0.05), arm(ONE, 0.03))
    many.tables["arms"]["n_seeds"] = 5
    assert not any("seed" in each for each in text.caveats(many))


def test_convergence_is_judged_by_per_layer_saes_of_another_length():
    most = ("per-layer (tokens-4of5)", "equal-compute", 4)
    far = "per-layer SAEs with 80 % of the training have 15.0 % more FVU"
    assert far in long(findings(arm(HALF, 0.25), arm(most, 0.15)))
    # Specialised arms' variants begin alike, and are no per-layer SAEs of some length.
    assert far in long(findings(arm(most, 0.15), arm((THREE[0], "specialised", 4.5), 0.5)))
    assert "converged" not in long(findings(arm(most, 0.05)))
    double = ("per-layer (tokens-2of1)", "equal-compute", 10)
    longer = findings(arm(most, 0.05), arm(double, -0.12))
    assert "per-layer SAEs with 200 % of the training have 12.0 % less FVU" in long(longer)
    assert "training not converged" in text.caveats(longer)
    assert "converged" not in long(findings(arm(most, 0.15), arm(double, -0.01)))


def test_per_layer_saes_of_equal_cost_are_named_in_the_units_in_which_there_are_such():
    seconds, flops = (
        {f"budget_equal_{unit}": share, f"verdict_equal_{unit}": word}
        | {f"excess_fvu_equal_{unit}": excess}
        for unit, share, excess, word in (("seconds", 0.55, 0.04, "w"), ("flops", 0.6, -0.1, "b"))
    )
    start = "Mean FVU against per-layer SAEs of equal total"
    first, other = (
        f"{unit} of the training): {excess} % ({word})"
        for unit, excess, word in (("seconds (55 %", "+4.0", "w"), ("FLOPs (60 %", "−10.0", "b"))
    )
    both = long(findings(arm(ONE, 0.03, **seconds, **flops)))
    assert f"{start} {first}; of equal {other} (interpolated)." in both
    assert f"{start} {other} (interpolated)." in long(findings(arm(ONE, 0.03, **flops)))
    without = long(findings(arm(ONE, 0.03)))
    assert start not in without
    assert "Dominated (" not in without


def test_pilots_are_named_with_what_they_took():
    found = findings(arm(HALF, 0.2), arm(ONE, 0.03))
    seconds = pd.DataFrame({"arm": found.tables["arms"]["arm"], "pilot_seconds": [0.0, 0.0, 12.5]})
    seconds = seconds.assign(relative_caching=0.75, relative_training=0.5)
    found.tables["cost"] = seconds
    assert "of which 12.5 s are the pilot trainings that proposed it." in long(found)
    assert (
        "Where caching is all that costs, it comes to 75 % of full per-layer training; where"
        " training is, to 50 %."
    ) in long(found)
    found.tables["cost"] = seconds.assign(pilot_seconds=0.0)
    assert "pilot trainings" not in long(found)


def test_every_arm_stands_in_the_long_form_with_what_speaks_against_it():
    """Not the best alone: dead latents, worst layers, cross-entropy and memory of all of them."""
    worse = arm(
        SHARED,
        *(0.4, 0.02),
        **{"dead_fraction": 0.62, "live_latents": 38.0, "excess_ce_all": -0.0125},
        excess_ce_all_bounded=0.021,
        **{"excess_fvu_equal_flops": 0.11, "excess_fvu_equal_flops_low": 0.1},
        **{"excess_fvu_equal_flops_high": 0.12, "peak_gpu_memory_mb": 2048.0},
    )
    found = findings(arm(HALF, 0.25), arm(ONE, 0.03), worse)
    rows = [line for line in verdict.long(found, QUESTIONS).splitlines() if line.startswith("| ")]
    head, cells = rows[0], [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert head.startswith("| arm | seconds | cost | untuned | FLOPs")
    assert len(rows) == 2 + len(found.tables["arms"])
    assert {len(row) for row in cells} == {len(cells[0])}
    by_name = {row[0]: dict(zip(cells[0], row)) for row in cells[2:]}
    shared = by_name["3 shared SAEs, complete linkage at 60 %"]
    assert shared["mean FVU"] == "+40 % [+38 to +42 %]"
    assert shared["worst layer"] == "+42 % [+40 to +44 %]"
    assert shared["equal FLOPs"] == "+11.0 % [+10.0 to +12.0 %]"
    assert (shared["dead"], shared["live"], shared["CE"]) == ("62 %", "38", "−0.013")
    assert shared["CE bounded"] == "+0.021"
    assert shared["memory (MB)"] == "700 + 2,048 GPU"
    full = by_name["full per-layer SAEs"]
    assert (full["mean FVU"], full["dead"], full["CE"]) == ("", "40 %", "")


def test_rivals_of_as_much_training_stand_beside_the_best_arm():
    """Before arms that are nearer to it, however badly they do, and also where they do well."""
    others = [arm((f"complete-{k}", "main", k), 0.5 - 0.1 * k) for k in (1, 2, 3, 4)]
    rivals = [arm(FORWARDS, 0.4, 0.01, **OF_FORWARDS), arm(ALL, 0.6, 0.01, **OF_ALL)]
    shown = lines(findings(arm(HALF, 0.25), arm(ONE, 0.03), *others, *rivals))
    assert any("transferred forwards" in line and "+40 % [+39 to +41 %]" in line for line in shown)
    assert any("1 multi-layer SAE " in line and "+60 % [+59 to +61 %]" in line for line in shown)
    # The answer may be one of them.
    assert headline(findings(arm(ONE, 0.3), arm(FORWARDS, 0.01, 0.001, **OF_FORWARDS))).startswith(
        "Best: SAEs transferred forwards: 50 % of the training"
    )
    assert headline(findings(arm(ALL, 0.01, 0.001, **OF_ALL))).startswith(
        "Best: 1 multi-layer SAE: 50 % of the training"
    )
