"""What the verdict says of tasks and circuits, from tables written by hand."""

import numpy as np
import pandas as pd
import pytest

from clustersae.circuits.text import circuits_sentence, listed

AREA, LEFT = "area under faithfulness", "area under completeness"
DEVIATION = "deviation of all latents without errors"
#: Differences from per-layer SAEs and their intervals: worse, better, open by faithfulness.
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
    for measure, difference in zip(("faithfulness", "completeness", "deviation"), differences):
        ends = difference if isinstance(difference, tuple) else (difference,) * 3
        found |= dict(zip((f"{measure}_vs_baseline{e}" for e in ("", "_low", "_high")), ends))
        found[measure] = value + (0 if np.isnan(ends[0]) else ends[0])
    return found | more


def said(*differences, tasks=(TASK,), excess=None, **more):
    rows = [row("per-layer", **more), row("single", differences, **more)]
    return circuits_sentence(pd.DataFrame(rows), pd.DataFrame(tasks), "ablated", "mean", excess)


def test_worse_and_better_are_both_said_with_their_numbers():
    text = said(LOW, OPEN, LOW)
    assert (
        "One SAE for all layers against per-layer SAEs, on plural: worse by area under"
        " faithfulness (0.40 against 0.50, difference −0.100 [−0.150 to −0.050]); better by"
        f" {DEVIATION} (0.40 against 0.50, difference −0.100 [−0.150 to −0.050]); no difference"
        f" shown by {LEFT} (0.51 against 0.50, difference +0.010 [−0.020 to +0.040])." in text
    )
    assert (
        f"So circuits tell the two apart on this model by {AREA} and {DEVIATION}, though these"
        f" disagree on which is better, and not by {LEFT}." in text
    )
    assert text.endswith("95 % intervals, over prompts and seeds, stand in square brackets.")
    assert "reconstruction" not in text


def test_one_direction_is_said_without_a_quarrel():
    text = said(LOW, HIGH, HIGH)
    assert f"worse by {AREA} (0.40 against 0.50" in text
    assert "better by" not in text
    assert f"on this model by {AREA}, {LEFT} and {DEVIATION}. 95 %" in text
    text = said(OPEN, OPEN, OPEN)
    assert "worse by" not in text
    assert "None of these is shown to tell the two apart on this model" in text


def test_reconstruction_is_named_only_where_it_is_known():
    assert "reconstruction" not in said(HIGH, OPEN, OPEN)
    text = said(HIGH, OPEN, OPEN, excess=0.12)
    assert (
        f"by {AREA}, and not by {LEFT} and {DEVIATION}. That the single SAE looks better by {AREA}"
        " its reconstruction does not bear out (mean FVU +12.0 %): do not choose" in text
    )
    assert "is no worse, either (mean FVU −3.0 %)" in said(HIGH, OPEN, OPEN, excess=-0.03)
    assert "reconstruction" not in said(LOW, OPEN, OPEN, excess=0.12)
    assert "reconstruction" not in said(HIGH, OPEN, OPEN, excess=np.nan)


def test_no_interval_is_no_difference():
    bare = (0.1, np.nan, np.nan)
    text = said(bare, bare, bare, n_seeds=1)
    assert f"no difference shown by {AREA} (0.60 against 0.50, difference +0.100, no int" in text
    assert "[" not in text
    assert "95 %" not in text.split("plural 95 %")[1]
    assert "95 % intervals, over prompts, stand" in said(LOW, LOW, LOW, n_seeds=1)


def test_too_small_a_gap_and_gaps_of_their_own_are_no_finding():
    nothing = (np.nan,) * 3
    text = said(*nothing, value=np.nan)
    assert "per-layer SAEs, on plural: no numbers, as ablating everything moves" in text
    assert "nan" not in text
    text = said(*nothing, excess=0.1)
    assert f": {AREA} (0.50 against 0.50), {LEFT} (0.50 against 0.50) and" in text
    assert "no differences, as with mean ablation every SAE is measured by a gap of its" in text
    for claim in ("worse", "better", "no difference shown", "apart"):
        assert claim not in text


def test_tasks_that_tell_the_two_apart_by_themselves_are_named():
    def of(name, differences):
        return [row("per-layer", name=name), row("single", differences, name=name)]

    rows = [
        *of("plural", (OPEN, OPEN, HIGH)),
        *of("gender", (LOW, HIGH, OPEN)),
        *of("place", (OPEN,) * 3),
    ]
    rows += of("all", (OPEN,) * 3)
    tasks = [task(name) for name in ("plural", "gender", "place")]
    text = circuits_sentence(pd.DataFrame(rows), pd.DataFrame(tasks), "ablated", "mean")
    assert "In the mean over tasks none of these is shown to tell the two apart. Task" in text
    worse = "(0.60 against 0.50, difference +0.100 [+0.050 to +0.150])"
    assert (
        f" Task by task, on plural it is worse by {DEVIATION} {worse}; on gender it is worse by"
        f" {AREA} (0.40 against 0.50, difference −0.100 [−0.150 to −0.050]) and {LEFT} {worse}"
        " (9 comparisons, not corrected for their number)." in text
    )
    none = circuits_sentence(pd.DataFrame(rows[4:]), pd.DataFrame(tasks), "ablated", "mean")
    assert "Task by task" not in none
    assert "None of these is shown to tell the two apart on this model" in none


def test_the_specialised_saes_of_a_name_are_spoken_of():
    special = {"role": "specialised"}
    rows = [row("per-layer"), row("a", (OPEN,) * 3, matched_count=1, **special)]
    rows.append(row("b", (LOW, OPEN, OPEN), matched_count=2, **special))
    tables = pd.DataFrame(rows), pd.DataFrame([TASK]), "ablated", "mean"
    assert "Specialised SAEs (25 % of the training)" in circuits_sentence(*tables)
    named = circuits_sentence(*tables, specialised="b")
    assert f"Specialised SAEs (50 % of the training) against per-layer: worse by {AREA}" in named


def test_the_mean_of_all_tasks_and_the_cheapest_specialised_saes_are_spoken_of():
    special = {"role": "specialised", "name": "all"}
    rows = [row("per-layer", name=name) for name in ("a", "b", "all")]
    rows += [row("single", (OPEN,) * 3, name=name) for name in ("a", "b")]
    rows.append(row("single", (LOW, OPEN, OPEN), name="all"))
    rows.append(row("dear", (OPEN,) * 3, matched_count=3, **special))
    rows.append(row("cheap", (HIGH, LOW, HIGH), matched_count=1, **special))
    text = circuits_sentence(pd.DataFrame(rows), pd.DataFrame([TASK]), "ablated", "mean")
    assert f"per-layer SAEs, over 2 tasks: worse by {AREA} (0.40" in text
    assert (
        f"Specialised SAEs (25 % of the training) against per-layer: worse by {DEVIATION} (0.60"
        " against 0.50, difference +0.100 [+0.050 to +0.150]); better by" in text
    )


def test_tasks_without_circuits_say_why():
    tasks = [
        TASK,
        task("gender", 0.97, False, ablated=2.9),
        task("sums", 0.4, False, ablated=np.nan),
        task("names", np.nan, False, np.nan, n_usable=12, n_train=7, n_test=3),
        task("dates", np.nan, False, np.nan, n_usable=0, n_train=0, n_test=0),
        task("quotes", np.nan, False, np.nan, n_tried=0, n_usable=0, n_train=0, n_test=0),
    ]
    text = circuits_sentence(pd.DataFrame([row("per-layer")]), pd.DataFrame(tasks), "kept", "mean")
    assert text == (
        "Circuits: the model can do 2 of 6 tasks (plural 95 %, gender 97 %); it cannot do sums"
        " 40 %; too few pairs to try names (12 of 300 usable; 7 for training, 3 for test) and dates"
        " (0 of 300 usable; 0 for training, 0 for test); what its tokenizer knows makes no prompts"
        " for quotes; gender (logit difference +3.10, +2.90 with everything ablated) does not rest"
        " on the stream, so circuits say nothing of it."
    )
    none = circuits_sentence(
        pd.DataFrame([row("per-layer")]), pd.DataFrame(tasks[2:3]), "kept", "mean"
    )
    assert none == "Circuits: the model can do 0 of 1 tasks; it cannot do sums 40 %."


@pytest.mark.parametrize(("names", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_lists(names, text):
    assert listed(list(names)) == text
