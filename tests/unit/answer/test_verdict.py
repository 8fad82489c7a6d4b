"""The verdict from tables written by hand: its form, what stands first, and what is never said."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_results import stream_row
from written_findings import MARGINS, arm, comparisons

from clustersae.answer import verdict
from clustersae.answer.ranking import headline, ranking
from clustersae.circuits import text as circuits_text
from clustersae.features import text as features_text
from clustersae.presentation.arms import best
from clustersae.presentation.findings import Findings
from clustersae.quality import stream, text
from clustersae.quality.choice import marked
from clustersae.quality.pairs import Words

QUESTIONS = {
    "Quality and cost": text,
    "Which tokens count": stream,
    "Circuits": circuits_text,
    "Features": features_text,
}
PARTITIONS = {"complete-3": {"clusters": ["0-1", "2-3", "4"]}}

FULL = ("per-layer", "baseline", 5)
HALF = ("per-layer (tokens-1of2)", "equal-compute", 2.5)
ONE = ("per-layer@single (tokens-1of4@tokens-5of4)", "specialised", 2.5)
THREE = ("per-layer@complete-3 (tokens-2of5@tokens-1of5)", "specialised", 3)
SHARED = ("complete-3", "main", 3)


def findings(*rows: dict[str, Any]) -> Findings:
    unmarked = pd.DataFrame([arm(FULL, 0.0, 0.0), *rows])
    excess = unmarked.set_index("arm")[["excess_fvu", "excess_fvu_worst"]]

    def words(name: str, other: str) -> Words:
        own, rival = excess.loc[name], excess.loc[other]
        more, less = (own > rival).tolist(), (own < rival).tolist()
        mean, worst = (
            "worse" if more[i] else "better" if less[i] else "equivalent" for i in range(2)
        )
        return Words(mean, worst)

    arms = marked(unmarked, MARGINS, words)
    features = pd.DataFrame(
        {"arm": arms["arm"], "layers_served": 1, "coverage": np.nan, "share_pairs_kept": np.nan}
    )
    tables = {"arms": arms, "comparisons": comparisons(arms), "features": features}
    tables["feature_coverage"] = pd.DataFrame(columns=["arm"])
    fvus = {f"per_layer_{name}": 0.2 for name in ("fvu", "fvu_all_tokens", "fvu_standardised")}
    tables["stream"] = pd.DataFrame([stream_row(layer) | fvus for layer in range(5)])
    return Findings(tables, PARTITIONS, MARGINS, {"errors": "ablated", "ablation": "mean"})


def lines(found: Findings) -> list[str]:
    return verdict.short(found, QUESTIONS).text().splitlines()


def long(found: Findings) -> str:
    return " ".join(verdict.long(found, QUESTIONS).split())


def test_what_holds_most_of_a_layer_is_warned_of_and_nothing_else():
    found = findings(arm(ONE, 0.03))
    assert not any(line.startswith("Variance:") for line in lines(found))
    assert "50 special tokens are left out of everything" in long(found)
    assert "Rounding" not in long(found)
    row = stream_row(
        5, n_norm=3, left_out_share=0.8, largest_dimension_share=0.6, rounding_share=0.002
    )
    fvus = {
        "per_layer_fvu": 0.2,
        "per_layer_fvu_all_tokens": 0.01,
        "per_layer_fvu_standardised": 0.4,
    }
    stream = pd.concat([found.tables["stream"], pd.DataFrame([row | fvus])], ignore_index=True)
    stream.loc[0, "largest_dimension_share"] = 0.51
    warned = found._replace(tables={**found.tables, "stream": stream})
    said = "tokens that were left out hold 80 % of layer 5; one dimension holds 60 % of layer 5"
    assert f"Variance: {said}" in lines(warned)
    assert "per-layer SAEs have 0.200 without and 0.010 with them at layer 5" in long(warned)
    assert "with every dimension standardised it is 0.400 instead of 0.200" in long(warned)
    assert "they carry up to 80 % of a layer's variance (layer 5)" in long(warned)
    assert "variance in 2 of 6 layers (up to 60 %, layer 5)" in long(warned)
    assert "has changed at most 0.2 % of a layer's variance." in long(warned)
    everything = stream.assign(n_special=0, n_norm=0)
    told = found._replace(tables={**found.tables, "stream": everything})
    assert "No token of the 1000 that were read for training is left out." in long(told)


def test_one_token_and_one_layer_are_said_as_one():
    found = findings(arm(ONE, 0.03))
    row = found.tables["stream"].iloc[:1]
    only = row.assign(n_special=0, n_first=1, n_tokens=999, left_out_share=0.8)
    only = only.assign(per_layer_fvu=0.2, per_layer_fvu_all_tokens=0.01)
    said = stream.paragraph(found._replace(tables={**found.tables, "stream": only}))
    assert said.startswith(
        "Of 1000 tokens read for training, 1 token at the beginning of a row without a BOS is left"
        " out of everything; it carries up to 80 % of a layer's variance (layer 0)."
    )
    assert "about them alone in 1 of 1 layer: per-layer" in said
    several = only.assign(n_special=1, n_norm=2, n_tokens=996)
    said = stream.paragraph(found._replace(tables={**found.tables, "stream": several}))
    assert "1 special token and 1 token at the beginning" in said
    assert "and 2 tokens of a norm beyond the limit are left out of everything; they carry" in said


def test_the_cheapest_within_the_margins_stands_first_and_the_others_by_cost():
    found = findings(arm(HALF, 0.2), arm(ONE, 0.03), arm(SHARED, 0.3), arm(THREE, 0.02))
    assert lines(found)[:8] == [
        "Best: SAEs fine-tuned (specialised) from 1 shared SAE: 50 % of the training and 55 % of"
        " the cost of",
        "full per-layer SAEs. Mean FVU +3.0 % [+2.0 to +4.0 %]: equivalent; worst layer +5.0 %:"
        " equivalent.",
        "",
        "  arm                      SAEs training  cost     mean FVU excess [95 %] worst layer"
        " margins 5/10 %",
        "1 fine-tuned from 1 SAE       5     50 %  55 %    +3.0 % [+2.0 to +4.0 %]      +5.0 %"
        " equivalent",
        "2 per-layer                   5     50 %  55 %     +20 % [+19.0 to +21 %]       +22 %"
        " dominated by 1",
        "3 fine-tuned from 3 SAEs      5     60 %  64 %    +2.0 % [+1.0 to +3.0 %]      +4.0 %"
        " equivalent",
        "4 shared, complete linkage    3     60 %  64 %       +30 % [+29 to +31 %]       +32 %"
        " dominated by 1",
    ]
    assert lines(found)[8].startswith("5 per-layer, full ")
    assert lines(found)[8].endswith("100 % 100 %")
    assert lines(found)[9] == "", "no arm is left out"
    text = long(found)
    assert "fine-tuned from 1 SAE at 50 % (+3.0 % and +5.0 % there)" in text
    # 1.03 / 1.2 - 1 = -14.2 %.
    assert (
        "Against per-layer at 50 %: mean FVU −14.2 % [−15.2 to −13.2 %] (better), worst layer"
        " −12.2 % [−13.2 to −11.2 %] (better), cost ratio 1.00." in text
    )
    assert text.count("gainst per-layer at") == 1, "rivals of other training are none"
    assert text.count("gainst full per-layer SAEs:") == text.count("Against .") == 0
    assert (
        "3 shared SAEs, complete linkage at 60 % (layers 0-1, 2-3, 4) against full per-layer"
        " training: mean FVU +30 % [+29 to +31 %] (worse), worst layer +32 % [+31 to +33 %]"
        " (worse), which is layer 4"
    ) in text
    assert (
        "Dominated (worse than another arm that takes no more training) are by fine-tuned from 1"
        " SAE at 50 %: per-layer at 50 %; by fine-tuned from 3 SAEs at 60 %: 3 shared SAEs" in text
    )


@pytest.mark.parametrize("n_arms", [0, 3, 30])
def test_the_short_form_keeps_to_its_lines(n_arms):
    many = [
        arm((f"per-layer (tokens-{i + 1}of40)", "equal-compute", (i + 1) / 8), 1 / (i + 1) + i % 2)
        for i in range(n_arms)
    ]
    numbers = {"ce_all": 1.3, "excess_ce_all": 0.1, "ce_clean": 1.2}
    numbers |= {f"excess_ce_all_bounded{end}": -0.2 for end in ("", "_low", "_high")}
    found = findings(*many, arm(ONE, 0.03, **numbers))
    found.tables["arms"].loc[0, ["ce_all", "ce_clean"]] = 1.3, 1.2
    rows = lines(found)
    assert len(rows) <= 15
    assert max(map(len, rows)) <= 100
    assert "Cross-entropy (nats): arm 1 1.300; per-layer 1.300: +0.100; without SAEs 1.200" in rows
    assert rows[-1].startswith("Caveats: ")
    assert "the difference is −0.200 [−0.200 to −0.200]." in " ".join(long(found).split())
    if n_arms == 30:
        first = "Dominated: per-layer at 5 %;"
        assert any(row.startswith(first) and row.endswith(" more") for row in rows)
        assert any(row.startswith("Not dominated, not shown: per-layer at 2.5 %;") for row in rows)


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


def test_more_questions_than_there_are_lines_leave_the_best_arm():
    class Wordy:
        line = staticmethod(lambda found: "An answer.")

    questions = {str(number): Wordy for number in range(verdict.MOST_LINES)}
    brief = verdict.short(findings(arm(HALF, 0.2), arm(ONE, 0.03)), questions)
    assert len(brief.ranking.rows) == 1
    assert len(brief.answers) == verdict.MOST_LINES + 1  # and the caveats


def test_the_table_s_cells_apart_are_those_of_the_text():
    brief = verdict.short(findings(arm(HALF, 0.2), arm(ONE, 0.03), arm(SHARED, 0.3)), QUESTIONS)
    parts = json.loads(json.dumps(brief.parts()))
    text = brief.text()
    assert " ".join(text.split()).startswith(parts["headline"])
    for number, cells in enumerate(parts["ranking"]["rows"], 1):
        line = next(line for line in text.splitlines() if line.startswith(f"{number} "))
        assert line.split() == [str(number), *" ".join(cells).split()]
    assert text.endswith("\n".join([*parts["ranking"]["left_out"], "", *parts["answers"]]) + "\n")


def test_the_choice_on_validation_stands_first_whatever_the_test_split_says():
    uneven = arm(THREE, 0.01, matched_count=2.5, excess_fvu_worst_validation=0.2)
    found = findings(arm(HALF, 0.2), arm(ONE, 0.03), uneven)
    arms = found.tables["arms"].set_index("arm")
    # The other is better on the test split, and outside the margins on the validation split.
    assert arms.loc[ONE[0], ["chosen", "dominated"]].tolist() == [True, False]
    assert not arms.loc[THREE[0], "within_margins"]
    assert best(found.tables["arms"])["arm"] == ONE[0]
    assert headline(found).startswith("Best: SAEs fine-tuned (specialised) from 1 shared SAE:")
    assert "dominated" not in next(row for row in lines(found) if row.startswith("1 fine"))


def test_where_nothing_else_is_within_the_margins_per_layer_saes_stand_first():
    found = findings(arm(HALF, 0.2), arm(SHARED, 0.3))
    assert lines(found)[:2] == [
        "Best: one SAE per layer, trained in full; no cheaper arm stays within 5 % more mean FVU"
        " and 10 % in",
        "the worst layer.",
    ]
    assert "No arm that costs less than full per-layer training is within" in long(found)


def test_margins_of_any_digits_fit_into_a_line():
    for margins, said in (
        ({"mean": 0.05, "worst": 0.1}, " margins 5/10 %"),
        ({"mean": 0.125, "worst": 0.125}, " ±12.5/12.5 %"),
    ):
        head = lines(findings(arm(ONE, 0.03))._replace(margins=margins))[3]
        assert head.endswith(said)
        assert len(head) <= 100


EVEN = ("even-3", "control", 3)


def test_a_control_that_is_cheaper_and_within_the_margins_is_not_passed_over_in_silence():
    control = arm(EVEN, 0.02, count=3)
    said = "Controls are not chosen; within these margins for less training: 3 shared SAEs, evenly"
    full = findings(control, arm(SHARED, 0.3))
    assert headline(full).startswith(
        "Best: one SAE per layer, trained in full; no cheaper arm but controls stays within 5 %"
    )
    assert "No arm but controls that costs less than full per-layer training is" in long(full)
    assert said in long(full)
    four = arm(("complete-4", "main", 4), 0.01, count=4)
    other = findings(control, four)
    assert "The cheapest arm, controls apart, within the margins of 5 %" in long(other)
    assert said in long(other)
    # One that takes as much training, or is outside the margins, changes nothing.
    same = arm(("even-3", "control", 2.99), 0.02, count=3)
    for each in (findings(same, arm(SHARED, 0.01)), findings(arm(EVEN, 0.2, count=3), four)):
        assert "ontrols" not in headline(each) + text.paragraph(each)


def test_where_there_is_little_room_the_nearest_that_is_not_dominated_is_shown():
    others = [(1, 0.2), (4, 0.005), (2.6, 0.3)]
    lengths = [arm((f"per-layer (tokens-{n}of5)", "equal-compute", n), loss) for n, loss in others]
    found = ranking(findings(*lengths, arm(ONE, 0.03), arm(SHARED, 0.02)), 3).rows
    assert [row[0] for row in found] == [
        *("fine-tuned from 1 SAE", "shared, complete linkage", "per-layer, full")
    ]
    narrower = arm(("per-layer (narrower-1of2)", "equal-compute", 2.5), 0.1)
    found = ranking(findings(narrower, arm(HALF, 0.2), arm(ONE, 0.03)), 3).rows
    assert [row[0] for row in found[1:]] == ["per-layer", "per-layer, full"]


@pytest.mark.parametrize(
    ("names", "partitions", "said"),
    [
        (HALF, {}, "per-layer SAEs"),
        (SHARED, PARTITIONS, "3 shared SAEs, complete linkage (layers 0-1, 2-3, 4)"),
        (("single", "main", 1), {"single": {"clusters": ["0-4"]}}, "1 shared SAE"),
    ],
)
def test_the_best_arm_is_called_by_what_it_is(names, partitions, said):
    found = findings(arm(names, 0.01))._replace(partitions=partitions)
    assert headline(found).startswith(f"Best: {said}: ")
    assert "(layers 0-4)" not in long(found)


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


FORWARDS = ("transfer-forwards (tokens-3of8~base)", "rival", 2.5)
ALL = ("single (mlsae-1of2)", "rival", 2.5)
OF_FORWARDS, OF_ALL = {"method": "transfer-forwards"}, {"method": "mlsae", "count": 1}


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
