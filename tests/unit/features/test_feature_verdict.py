"""What the verdict says of features, from tables written by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from clustersae.features.summary import most_lost, spoken_of
from clustersae.features.table import COMPARED, MEASURES
from clustersae.features.text import line, paragraph
from clustersae.presentation.findings import Findings

NOTE = "95 % intervals stand in square brackets."


def row(arm, role, count, spent, **values):
    """A row of features.csv; a value is a number, or one with its interval."""
    cells = {name: np.nan for each in MEASURES for name in (each, f"{each}_low", f"{each}_high")}
    for each in COMPARED:
        cells |= {f"{each}_vs_baseline{end}": np.nan for end in ("", "_low", "_high")}
    for name, value in values.items():
        ends = value if isinstance(value, tuple) else (value, np.nan, np.nan)
        cells |= dict(zip((name, f"{name}_low", f"{name}_high"), ends))
    partition = arm.partition(" ")[0]
    named = {"arm": arm, "partition": partition, "variant": "base", "role": role, "count": count}
    numbers = {"n_live": 300.0, "n_explained": 120.0, "n_judged": 50.0, "n_values": 42}
    numbers["n_pairs"] = 900.0
    return (
        named
        | {"matched_count": spent}
        | numbers
        | cells
        | {"layers_served": cells["layers_served"]}
    )


def single(**changes):
    values = {
        **{"layers_served": 6, "share_kept": (0.41, 0.38, 0.44), "meaning_ceiling": 0.88},
        "share_pairs_kept": (0.72, 0.66, 0.78),
        **{"meaning_other": 0.81, "meaning_floor": 0.52, "meaning_lost": (0.07, 0.05, 0.09)},
        **{"coverage": 0.62, "coverage_vs_baseline": (-0.08, -0.1, -0.05)},
    }
    return row("single", "main", 1, 1, **values | changes)


def per_layer(**changes):
    return row("per-layer", "baseline", 6, 6, **{"layers_served": 1, "coverage": 0.7} | changes)


def special(spent=2.4, **changes):
    values = {
        **{"layers_served": 6, "share_kept": (0.352, 0.3, 0.4), "meaning_ceiling": 0.9},
        "share_pairs_kept": (0.63, 0.6, 0.66),
        **{
            "meaning_other": 0.79,
            "meaning_floor": 0.51,
            "meaning_lost": (0.11, 0.1, 0.12),
            "coverage": 0.69,
        },
        "coverage_vs_baseline": (-0.01, -0.03, 0.02),
    }
    return row("per-layer@single (x)", "specialised", 6, spent, **values | changes)


def coverage(**factors):
    """Rows of feature_coverage.csv of the single SAE: differences and their p-values."""
    names = ("f1_vs_baseline", "f1_vs_baseline_p")
    rows = [{"arm": "single", "factor": f, **dict(zip(names, v))} for f, v in factors.items()]
    return pd.DataFrame(rows, columns=["arm", "factor", *names])


LOST = coverage(gender=(-0.02, 0.2), subject=(-0.3, 0.004), place=(-0.4, 0.03))


def findings(*rows, factors=LOST):
    """The last of the arms is the chosen one."""
    features = pd.DataFrame(rows)
    columns = ["arm", "partition", "variant", "role", "count", "matched_count"]
    arms = features[columns].assign(method="complete", n_layers=6, dominated=False)
    arms["within_margins"] = arms["chosen"] = arms["arm"] == rows[-1]["arm"]
    arms["excess_fvu_validation"] = 0.0
    return Findings({"arms": arms, "features": features, "feature_coverage": factors}, {}, {}, {})


def sentence(*rows, **more):
    return paragraph(findings(*rows, **more))


def test_everything_in_words():
    assert sentence(per_layer(), single(), special()) == (
        "With fine-tuned from 1 SAE at 40 %, 63 % [60 to 66 %] of rules keep their meaning on"
        " another layer (900 pairs of a rule that holds on its own layer and another layer). Of 300"
        " live latents 120 fire often enough on every layer that they serve and follow a rule on"
        " one, and 35 % [30 to 40 %] of these mean the same on all of them. Rules learned on one"
        " layer have a balanced accuracy of 0.90 there, 0.79 on the other layers (less by 0.11"
        " [0.10 to 0.12]) and 0.51 on a random latent. With 1 shared SAE at 16.7 %, 72 % [66 to"
        " 78 %] of rules keep their meaning on another layer (900 pairs of a rule that holds on its"
        " own layer and another layer). Of 300 live latents 120 fire often enough on every layer"
        " that they serve and follow a rule on one, and 41 % [38 to 44 %] of these mean the same on"
        " all of them. Rules learned on one layer have a balanced accuracy of 0.88 there, 0.81 on"
        " the other layers (less by 0.07 [0.05 to 0.09]) and 0.52 on a random latent. Known factors"
        " of the text (42 values) are found with a mean F1 of 0.70 by the best latents of per-layer"
        " SAEs, 0.69 by those of fine-tuned from 1 SAE at 40 % (undecided: −0.01 [−0.03 to +0.02]),"
        " 0.62 by those of 1 shared SAE at 16.7 % (difference −0.08 [−0.10 to −0.05], most on"
        f" subject). {NOTE}"
    )


def test_the_line_is_about_the_best_arm_or_names_another():
    best = findings(per_layer(), single(), special())
    assert line(best) == (
        "Features (arm 1): 63 % [60 to 66 %] of rules hold on other layers; factor F1 −0.01 [−0.03"
        " to +0.02]"
    )
    other = line(findings(single(), per_layer()))
    assert other.startswith("Features (1 shared SAE at 16.7 %): 72 % [66 to 78 %] of rules hold on")
    assert max(len(text) for text in (line(best), other)) <= 100
    none = line(findings(per_layer(), single(share_pairs_kept=np.nan)))
    assert none.startswith("Features (arm 1): no rule could be tested on another layer; factor F1")
    assert "no latent can change its meaning" in line(findings(per_layer()))


def test_intervals_that_hold_zero_show_nothing():
    text = sentence(per_layer(), single(meaning_lost=(0.01, -0.01, 0.03)))
    assert "(undecided: 0.01 [−0.01 to 0.03])" in text
    text = sentence(per_layer(), single(coverage_vs_baseline=(-0.08, -0.2, 0.01)))
    assert "(undecided: −0.08 [−0.20 to +0.01]" in text


def test_a_single_seed_has_no_intervals():
    values = {"share_kept": 0.41, "share_pairs_kept": 0.72, "meaning_lost": 0.07}
    text = sentence(per_layer(), single(**values, coverage_vs_baseline=-0.08))
    assert "With 1 shared SAE at 16.7 %, 72 % of rules" in text
    assert "41 % of these" in text
    assert "(undecided: 0.07, without an interval)" in text
    assert "(undecided: −0.08, without an interval" in text
    assert "nan" not in text
    assert NOTE not in text


def test_latents_that_could_not_be_asked():
    text = sentence(per_layer(), single(share_kept=np.nan))
    assert "Of 300 live latents none both fires often enough on every layer and" in text
    assert "Rules learned on one layer" in text
    none = {"share_kept": np.nan, "share_pairs_kept": np.nan, "meaning_lost": np.nan}
    text = sentence(per_layer(), single(**none), special(**none))
    assert "Of 1 shared SAE at 16.7 % no rule that holds on its own layer could be tested" in text
    assert "Rules learned" not in text
    assert "nan" not in text


def test_text_without_factors_and_without_a_judge():
    none = {"coverage": np.nan, "coverage_vs_baseline": np.nan}
    text = sentence(per_layer(coverage=np.nan), single(**none), factors=coverage())
    assert "factors" not in text
    assert "judge" not in text
    judged = single(**none, detection_ceiling=0.75, detection_other=0.7)
    text = sentence(per_layer(coverage=np.nan), judged, factors=coverage())
    assert "at 0.75 there and at 0.70 on the others (balanced accuracy of latents with" in text


def test_without_shared_latents():
    text = sentence(per_layer())
    assert text.startswith("No SAE serves several layers")
    assert text.endswith("a mean F1 of 0.70 by the best latents of per-layer SAEs.")
    assert sentence(per_layer(coverage=np.nan)).endswith("no latent can change meaning.")


def test_the_fewest_shared_and_the_cheapest_specialised_are_spoken_of():
    pair = row("complete-2", "main", 2, 2, layers_served=3)
    three = row("complete-3", "main", 3, 3, layers_served=2)
    alone = row("per-layer (tokens-1of2)", "equal-compute", 6, 3, layers_served=1)
    rows = pd.DataFrame([per_layer(), three, pair, alone, special(4), special(2.4)])
    spoken = spoken_of(rows)
    assert spoken["arm"].tolist() == ["complete-2", "per-layer@single (x)"]
    assert spoken["matched_count"].tolist() == [2, 2.4]
    assert spoken_of(rows[rows["layers_served"] == 1]).empty
    named = rows.assign(arm=rows["arm"].mask(rows["matched_count"] == 4, "the longer one"))
    assert spoken_of(named, "the longer one")["matched_count"].tolist() == [2, 4]


def test_the_factor_lost_most_is_one_whose_loss_is_shown_among_all_factors():
    # place loses more, but of two that are left its p-value is not below 0.025.
    assert most_lost(LOST, "single")["factor"] == "subject"
    assert most_lost(LOST[1:], "single")["factor"] == "place"
    # A gain is not a loss, a p-value above its limit stops those behind it.
    gained = coverage(subject=(0.3, 0.001), place=(-0.4, 0.02), gender=(-0.5, 0.04))
    assert most_lost(gained, "single")["factor"] == "gender"
    stopped = coverage(subject=(-0.3, 0.02), place=(-0.4, 0.02), gender=(-0.5, 0.04))
    assert most_lost(stopped, "single") is None
    assert most_lost(coverage(subject=(-0.3, np.nan)), "single") is None
    assert most_lost(LOST[:1], "single") is None
    assert most_lost(LOST, "complete-2") is None


@pytest.mark.parametrize("seed", range(3))
def test_every_number_stands_in_the_tables(seed):
    generator = np.random.default_rng(seed)

    def drawn():
        low, value, high = sorted(generator.uniform(0.2, 0.9, 3))
        return value, low, high

    names = ("share_kept", "share_pairs_kept", "meaning_lost", "coverage_vs_baseline")
    more = ("meaning_ceiling", "meaning_other", "meaning_floor", "coverage")
    arm = single(**{name: drawn() for name in names}, **{n: drawn()[0] for n in more})
    held = {f"{value:.2f}" for value in arm.values() if isinstance(value, float)}
    held |= {f"{100 * value:.0f}" for value in arm.values() if isinstance(value, float)}
    text = sentence(per_layer(), arm).removesuffix(NOTE).replace("F1", "")
    told = re.findall(r"\d+(?:\.\d+)?", text)
    assert len(told) > 12
    assert set(told) - held <= {"300", "120", "900", "42", "0.70", "1", "16.7"}


def test_the_control_of_matched_per_layer_saes_is_told_where_it_was_measured():
    without = findings(per_layer(), single())
    columns = ["arm", "pairing", "share", "n_pairs", "share_pairs_kept"]
    columns += ["share_pairs_kept_low", "share_pairs_kept_high"]
    rows = [
        ("per-layer", "matched", 0.5, 90.0, 0.31, 0.27, 0.35),
        ("per-layer", "matched", 0.9, 90.0, 0.11, 0.07, 0.15),
        ("single", "index", 0.5, 90.0, 0.72, 0.66, 0.78),
    ]
    sweep = pd.DataFrame(rows, columns=columns)
    said = paragraph(without._replace(tables={**without.tables, "feature_sweep": sweep}))
    assert "matched for every two layers, it is 31 % [27 to 35 %]." in said
    assert "11 %" not in said
    assert "matched" not in paragraph(without)
