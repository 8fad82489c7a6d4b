"""The verdict: at most fifteen lines, the best arm first, every dominated arm said to be so."""

import numpy as np
import pandas as pd
import pytest
from synthetic_results import MARGINS, Experiment, write_tables

from clustersae.answer.verdict import WIDTH, verdict
from clustersae.experiment.variants import BASE
from clustersae.presentation.tables import read_file
from clustersae.quality.choice import judged
from clustersae.quality.text import caveats, paragraphs

N_LAYERS = 8


def arm(name, role, cost, loss, variant=BASE, method="complete", count=None, **changes):
    return {
        **{"arm": name if variant == BASE else f"{name} ({variant})", "partition": name},
        **{"variant": variant, "method": method, "role": role, "matched_count": cost},
        **{"count": count or N_LAYERS, "n_layers": N_LAYERS, "n_seeds": 3},
        **{"excess_fvu": loss, "excess_fvu_low": loss - 0.01, "excess_fvu_high": loss + 0.01},
        **{"excess_fvu_worst": loss + 0.02, "worst_excess_layer": 3, "dead_fraction": 0.0},
        **{"excess_fvu_validation": loss, "excess_fvu_worst_validation": loss + 0.02},
        **{"cost_relative": 0.2 + 0.8 * cost / N_LAYERS, "cost_relative_predicted": 0.5},
        **{"delta_ce_all": np.nan},
        **changes,
    }


PER_LAYER = arm("per-layer", "baseline", 8, 0.0, excess_fvu_worst=0.0)
SPECIAL = arm("per-layer@single", "specialised", 4, 0.02, "tokens-3of8@base")
HALF = arm("per-layer", "equal-compute", 4, 0.2, "tokens-1of2")
SINGLE = arm("single", "main", 1, 0.9, method="single", count=1)


def said(*arms, margins=MARGINS, lines=()):
    text = verdict(judged(pd.DataFrame(arms), margins), margins, lines)
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_the_best_arm_comes_first_and_the_baseline_next():
    lines = said(PER_LAYER, HALF, SPECIAL, SINGLE, lines=["Circuits: none.", "Caveats: none."])
    assert lines[0].startswith("Best: specialised from 1, 50 % of the training, 60 % of the")
    assert "Mean FVU +2.0 % (95 % interval +1.0 % to +3.0 %), worst layer +4.0 %" in lines[1]
    rows = lines[4:]
    assert rows[0].startswith("specialised from 1, 50 % ")
    assert rows[0].endswith("best")
    assert rows[1].startswith("per-layer ")
    assert rows[2].startswith("1 shared ")
    assert rows[3].startswith(
        "Dominated, as another costs no more and loses no more: per-layer, 50"
    )
    assert rows[4:] == ["Circuits: none.", "Caveats: none."]


def test_where_nothing_cheaper_will_do_one_sae_per_layer_is_the_answer():
    lines = said(PER_LAYER, SINGLE, margins={"mean": 0.05, "worst": 0.1})
    assert lines[0] == (
        "Best: one SAE per layer; no cheaper arm stays within the margins (mean 5 %, worst layer"
        " 10 %)."
    )
    assert lines[3].startswith("per-layer ")
    assert lines[3].endswith("best")


def test_the_first_sentence_is_never_about_a_dominated_arm():
    better = arm("per-layer@complete-2", "specialised", 4, 0.01, "tokens-1of4@base")
    lines = said(PER_LAYER, SPECIAL, better)
    assert lines[0].startswith("Best: specialised from 2, 50 %")


def many(n):
    """Arms of every kind, most of them dominated."""
    arms = [PER_LAYER, SPECIAL, HALF, SINGLE]
    for k in range(2, n):
        cost = N_LAYERS * k / n
        arms.append(arm(f"complete-{k}", "main", cost, 0.9 - 0.8 * k / n, count=k))
        arms.append(
            arm(f"random-{k}.1", "control", cost, 1 - 0.5 * k / n, method="random", count=k)
        )
        arms.append(arm("per-layer", "equal-compute", cost, 0.5, f"narrower-{k}of{n}"))
    return arms


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20])
def test_it_has_at_most_fifteen_lines(n):
    lines = said(*many(n), lines=["Circuits: some.", "Features: some.", "Caveats: some."])
    assert len(lines) <= 15
    assert max(map(len, lines[:3])) <= WIDTH + 20
    table = pd.DataFrame(many(n))
    assert sum(line.startswith("Dominated") for line in lines) == (len(table) > 4 or n == 2)


def test_caveats_name_seeds_dead_latents_and_training_that_is_not_done():
    longer = arm("per-layer", "equal-compute", 16, -0.2, "tokens-2of1")
    few = [{**each, "n_seeds": 1} for each in (PER_LAYER, SPECIAL)]
    assert "only 1 seed" in caveats(pd.DataFrame(few))
    dead = {**SPECIAL, "dead_fraction": 0.55}
    text = caveats(pd.DataFrame([PER_LAYER, dead, longer]))
    assert text == (
        "Caveats: 3 seeds; 55 % of latents dead (specialised from 1, 50 %); not converged: 200 % of"
        " the training has 20 % less FVU."
    )
    assert "not converged: 50 %" in caveats(pd.DataFrame([PER_LAYER, HALF]))
    assert caveats(pd.DataFrame([PER_LAYER])) == "Caveats: 3 seeds."


def test_the_long_form_has_every_comparison_in_one_of_three_words(tmp_path):
    experiment = Experiment(tmp_path, counts=(2, 3), noise=0.01, specialise=(1,))
    tables = write_tables(experiment)
    arms, rows = read_file(tables["arms"]), read_file(tables["comparisons"])
    text = " ".join(paragraphs(arms, rows, None).split())
    shown = rows[rows["arm"] == arms.loc[arms["chosen"], "arm"].item()]
    assert len(shown)
    assert sum(text.count(f" {word}: ") for word in ("better", "worse", "undecided")) >= len(shown)


def test_the_long_form_says_what_pilots_have_settled():
    found = {"family": "specialised", "entry": {"from": 1, "budgets": [0.4]}}
    auto = {
        **found,
        "pilot_fraction": 0.1,
        "candidates": [{**found, "excess_fvu": 0.013, "excess_fvu_worst": 0.05}],
    }
    arms = judged(pd.DataFrame([PER_LAYER]), MARGINS)
    rows = pd.DataFrame(columns=["arm"])
    text = " ".join(paragraphs(arms, rows, auto).split())
    assert "was specialised from 1, 40 %: mean FVU +1.3 %" in text
    none = paragraphs(arms, rows, {**auto, "family": None, "entry": None})
    assert "none stayed within the margins" in " ".join(none.split())
