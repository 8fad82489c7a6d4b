"""The verdict from tables written by hand: its form, what stands first, and what is never said."""

import json

import pandas as pd
import pytest
from synthetic_results import stream_row
from written_findings import arm
from written_verdicts import HALF, ONE, PARTITIONS, QUESTIONS, SHARED, THREE, findings, lines, long

from clustersae.answer import verdict
from clustersae.answer.ranking import headline, ranking
from clustersae.presentation.arms import best
from clustersae.quality import stream, text

EVEN = ("even-3", "control", 3)


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
