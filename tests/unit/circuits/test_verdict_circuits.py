"""What the verdict says of tasks and circuits, from tables written by hand."""

import numpy as np
import pandas as pd
import pytest
from written_findings import arm, word_of

from clustersae.circuits.text import line, paragraph
from clustersae.presentation.findings import Findings

AWAY, LEFT = "distance of faithfulness from 1", "area under completeness"
DEVIATION = "deviation of all latents without errors"
#: Differences from per-layer SAEs and their intervals: less (better), more (worse), open.
LOW, HIGH, OPEN = (-0.1, -0.15, -0.05), (0.1, 0.05, 0.15), (0.01, -0.02, 0.04)


def task(name, accuracy=0.95, usable=True, ablated=0.1, **pairs):
    return {
        **{"task": name, "n_tried": 300, "n_usable": 200, "n_train": 100, "n_test": 100},
        **{"accuracy": accuracy, "logit_difference": 3.1, "logit_difference_ablated": ablated},
        **{"usable": usable},
    } | pairs


TASK = task("plural")


def row(arm, differences=(np.nan,) * 3, name="plural", value=0.5, **more):
    found = {"task": name, "control": "none", "errors": "ablated", "ablation": "mean", "arm": arm}
    found |= {"role": "reference", "count": 4, "matched_count": 4, "n_seeds": 3}
    found |= {"nodes_reached": 1.0}
    found |= dict.fromkeys(("nodes_ratio", "nodes_ratio_low", "nodes_ratio_high"), np.nan)
    for measure, difference in zip(("distance", "completeness", "deviation"), differences):
        ends = difference if isinstance(difference, tuple) else (difference,) * 3
        found |= dict(zip((f"{measure}_vs_baseline{e}" for e in ("", "_low", "_high")), ends))
        found[measure] = value + (0 if np.isnan(ends[0]) else ends[0])
        found[f"{measure}_verdict"] = word_of(*ends[1:])
    return found | more


def findings(rows, tasks, excess=0.12, arms=("single",), errors="ablated"):
    """The arms, the first of which is chosen, are shared but for those that say otherwise."""
    kinds = {"per-layer": ("baseline", 4), "single": ("main", 1)}
    names = [(name, *kinds.get(name, ("specialised", 2))) for name in ("per-layer", *arms)]
    summary = pd.DataFrame([arm(each, excess, n_layers=4, variant="base") for each in names])
    summary = summary.assign(within_margins=True, dominated=False)
    summary["chosen"] = summary["arm"] == arms[0]
    summary["verdict"] = word_of(excess - 0.01, excess + 0.01)
    tables = {"arms": summary, "circuits": pd.DataFrame(rows), "tasks": pd.DataFrame(tasks)}
    return Findings(tables, {}, {}, {"errors": errors, "ablation": "mean"})


def of_single(*differences, tasks=(TASK,), excess=-0.12, **more):
    rows = [row("per-layer", **more), row("single", differences, **more)]
    return findings(rows, tasks, excess)


def said(*differences, **more):
    return paragraph(of_single(*differences, **more))


SHARED = "1 shared SAE at 25 % against per-layer SAEs"


def test_worse_and_better_are_both_said_with_their_numbers():
    text = said(HIGH, OPEN, LOW)
    assert (
        f"{SHARED}, on plural: worse by distance of"
        " faithfulness from 1 (0.60 against 0.50, difference +0.100 [+0.050 to +0.150]); better by"
        f" {DEVIATION} (0.40 against 0.50, difference −0.100 [−0.150 to −0.050]); undecided by"
        f" {LEFT} (0.51 against 0.50, difference +0.010 [−0.020 to +0.040])." in text
    )
    assert text.endswith("95 % intervals, over prompts and seeds, stand in square brackets.")
    assert "reconstruction" not in text


def test_one_direction_is_said_without_a_quarrel():
    text = said(HIGH, HIGH, HIGH)
    assert f"worse by {AWAY} (0.60 against 0.50" in text
    assert "better by" not in text
    assert "worse by" not in said(OPEN, OPEN, OPEN)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ((HIGH, OPEN, OPEN), "worse by distance +0.100 [+0.050 to +0.150]; undecided by the rest"),
        ((LOW, LOW, HIGH), "worse by deviation; better by distance and completeness"),
        ((OPEN,) * 3, "undecided by distance +0.010 [−0.020 to +0.040]; undecided by the rest"),
        (((np.nan,) * 3,) * 3, "has no numbers to compare"),
    ],
)
def test_the_line_has_numbers_where_there_is_room(differences, words):
    text = line(of_single(*differences))
    assert text.startswith(f"Circuits: 1 of 1 task; arm 1 {words}")
    assert len(text) <= 100


def test_what_is_within_the_margin_is_called_equivalent():
    found = of_single(OPEN, OPEN, LOW)
    circuits = found.tables["circuits"]
    circuits.loc[circuits["arm"] == "single", "distance_verdict"] = "equivalent"
    assert "better by deviation" in line(found)
    assert "equivalent by distance" in line(found)
    assert f"equivalent by {AWAY} (0.51 against 0.50" in paragraph(found)


def test_without_tasks_nothing_is_said():
    found = of_single(LOW, LOW, LOW)
    del found.tables["tasks"]
    assert line(found) == paragraph(found) == ""


def test_a_better_circuit_is_held_against_the_reconstruction():
    text = said(LOW, OPEN, OPEN, excess=0.12)
    assert (
        f" That it looks better by {AWAY} its reconstruction does not bear out (mean FVU +12.0 %"
        " [+11.0 to +13.0 %]): do not choose" in text
    )
    assert "reconstruction" in said(LOW, OPEN, OPEN, excess=0.0)
    assert "reconstruction" not in said(LOW, OPEN, OPEN, excess=-0.03)
    assert "reconstruction" not in said(HIGH, OPEN, OPEN, excess=0.12)


def test_no_interval_is_no_difference():
    bare = (0.1, np.nan, np.nan)
    text = said(bare, bare, bare, n_seeds=1)
    assert f"undecided by {AWAY} (0.60 against 0.50, difference +0.100, no int" in text
    assert "[" not in text
    assert "95 %" not in text.split("plural 95 %")[1]
    assert "95 % intervals, over prompts, stand" in said(LOW, LOW, LOW, n_seeds=1)


def test_too_small_a_gap_and_gaps_of_their_own_are_no_finding():
    nothing = (np.nan,) * 3
    text = said(*nothing, value=np.nan)
    assert f"{SHARED}, on plural: no numbers, as ablating everything moves" in text
    assert "nan" not in text
    text = said(*nothing, excess=0.1)
    assert f": {AWAY} (0.50 against 0.50), {LEFT} (0.50 against 0.50) and" in text
    assert "no differences, as with mean ablation every SAE is measured by a gap of its" in text
    for claim in ("worse", "better", "undecided"):
        assert claim not in text


def test_tasks_that_tell_the_two_apart_by_themselves_are_named():
    def of(name, differences):
        return [row("per-layer", name=name), row("single", differences, name=name)]

    rows = [
        *of("plural", (OPEN, OPEN, HIGH)),
        *of("gender", (HIGH, HIGH, OPEN)),
        *of("place", (OPEN,) * 3),
    ]
    rows += of("all", (OPEN,) * 3)
    tasks = [task(name) for name in ("plural", "gender", "place")]
    text = paragraph(findings(rows, tasks))
    worse = "(0.60 against 0.50, difference +0.100 [+0.050 to +0.150])"
    assert (
        f" Task by task, on plural it is worse by {DEVIATION} {worse}; on gender it is worse by"
        f" {AWAY} {worse} and {LEFT} {worse}"
        " (9 comparisons, not corrected for their number)." in text
    )
    assert "Task by task" not in paragraph(findings(rows[4:], tasks))


def test_the_best_arm_and_the_shown_ones_are_spoken_of_in_the_mean_of_all_tasks():
    rows = [row("per-layer", name=name) for name in ("a", "b", "all")]
    rows += [row("single", (OPEN,) * 3, name=name) for name in ("a", "b")]
    rows += [row("per-layer@single (x)", (OPEN,) * 3, name=name) for name in ("a", "b")]
    rows.append(row("single", (HIGH, OPEN, OPEN), name="all"))
    rows.append(row("per-layer@single (x)", (LOW, LOW, HIGH), name="all"))
    found = findings(rows, [TASK], arms=("per-layer@single (x)", "single"))
    text = paragraph(found)
    assert (
        f"Fine-tuned from 1 SAE at 50 % against per-layer SAEs, over 2 tasks: worse by {DEVIATION}"
        " (0.60 against 0.50, difference +0.100 [+0.050 to +0.150]); better by" in text
    )
    assert f" {SHARED}, over 2 tasks: worse by {AWAY} (0.60" in text
    assert text.index("Fine-tuned") < text.index(SHARED)
    assert "arm 1 worse by deviation" in line(found)
    # An arm whose circuits were not measured is not spoken of, and the line names the other one.
    only = findings([row("per-layer"), row("single", (HIGH,) * 3)], [TASK], arms=("x@y", "single"))
    assert "1 shared SAE at 25 % worse by distance" in line(only)


def test_tasks_without_circuits_say_why():
    tasks = [
        TASK,
        task("gender", 0.97, False, ablated=2.9),
        task("sums", 0.4, False, ablated=np.nan),
        task("names", np.nan, False, np.nan, n_usable=12, n_train=7, n_test=3),
        task("dates", np.nan, False, np.nan, n_usable=0, n_train=0, n_test=0),
        task("quotes", np.nan, False, np.nan, n_tried=0, n_usable=0, n_train=0, n_test=0),
    ]
    found = findings([row("per-layer")], tasks, errors="kept")
    text = paragraph(found)
    assert text == (
        "The model can do 2 of 6 tasks (plural 95 %, gender 97 %); it cannot do sums"
        " 40 %; too few pairs to try names (12 of 300 usable; 7 for training, 3 for test) and dates"
        " (0 of 300 usable; 0 for training, 0 for test); what its tokenizer knows makes no prompts"
        " for quotes; gender (logit difference +3.10, +2.90 with everything ablated) does not rest"
        " on the stream, so circuits say nothing of it."
    )
    assert line(found) == "Circuits: the model can do 2 of 6 tasks"
    none = paragraph(findings([row("per-layer")], tasks[2:3]))
    assert none == "The model can do 0 of 1 task; it cannot do sums 40 %."


def test_circuits_of_equal_faithfulness_are_compared_by_their_nodes():
    half = dict(zip(("nodes_ratio", "nodes_ratio_low", "nodes_ratio_high"), (1.4, 1.1, 1.8)))
    text = paragraph(findings([row("per-layer"), row("single", (OPEN,) * 3, **half)], [TASK]))
    assert (
        " To carry half of the behaviour it takes 1.40 [1.10 to 1.80] times as many nodes." in text
    )
    assert "times as many" not in said(OPEN, OPEN, OPEN)


@pytest.mark.parametrize(("own", "other"), [(1, 3), (3, 2), (2, 1)])
def test_nodes_are_not_compared_on_the_seeds_alone_that_need_few(own, other):
    short = {"nodes_ratio": 0.9, "nodes_reached": own / 3}
    rows = [row("per-layer", nodes_reached=other / 3), row("single", (OPEN,) * 3, **short)]
    text = paragraph(findings(rows, [TASK]))
    assert "times as many" not in text
    assert (
        f" Half of the behaviour is carried with {own} of 3 seeds, by per-layer SAEs with {other}."
        in text
    )
