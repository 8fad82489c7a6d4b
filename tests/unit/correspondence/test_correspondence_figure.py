"""The figure of correspondence: points and titles against the table that it draws."""

import numpy as np
import pandas as pd
import pytest
from drawn_texts import title_of

from clustersae.correspondence.figure import KINDS, draw
from clustersae.correspondence.measures import CORRESPONDENCE_MEASURES as MEASURES

VALUES = {
    **{"ancestor": 0.9, "siblings": 0.62, "shared": 0.7, "shuffled": 0.01},
    **{"independent": 0.3, "same_start": 0.41, "independent_seed": 0.5},
    "specialised_seed": 0.55,
}


def table(budgets=(0.4,), roots=("single", "complete-2"), kinds=tuple(VALUES)):
    rows = []
    for root in roots:
        for budget in budgets:
            for kind in kinds:
                for distance in (np.nan, 1, 2) if kind in ("siblings", "shuffled") else (np.nan,):
                    value = VALUES[kind] - (0.1 if root != "single" else 0)
                    value -= 0.05 * (np.nan_to_num(distance) + (budget == 0.1))
                    rows.append(
                        {
                            "arm": f"per-layer@{root} ({budget})",
                            "partition": f"per-layer@{root}",
                            "count": 4,
                            "matched_count": 4 * budget,
                            "kind": kind,
                            "distance": distance,
                            "n_pairs": 6 if root == "single" else 2,
                            "n_seeds": 3,
                            "n_tokens": 20_000,
                        }
                        | dict.fromkeys(MEASURES, value)
                        | {f"{name}_low": value - 0.02 for name in MEASURES}
                        | {f"{name}_high": value + 0.02 for name in MEASURES}
                    )
    return pd.DataFrame(rows)


def points(axis):
    return [container.lines[0].get_xydata() for container in axis.containers]


def test_the_title_sets_siblings_against_the_better_of_the_rivals():
    text = title_of(draw(table(), "a model"))
    assert "62 % of the latents specialised from 1 SAE" in text
    assert text.count("(from scratch at best 41 %)") == 2


def test_points_stand_at_the_numbers_of_the_table():
    axes = draw(table(), "a model").axes
    single, pairs = points(axes[2])  # Jaccard
    expected = [VALUES[kind] for kind in KINDS]
    assert list(single[:, 0]) == pytest.approx(expected)
    assert list(pairs[:, 0]) == pytest.approx([value - 0.1 for value in expected])
    assert np.allclose(np.round(single[:, 1]), range(len(KINDS)))
    apart = points(axes[5])[0]
    assert list(apart[:, 1]) == pytest.approx([0.57, 0.52])
    assert list(np.round(apart[:, 0])) == [1, 2]


def test_one_budget_is_drawn_the_one_that_most_starts_have():
    both = pd.concat(
        [table((0.1, 0.8), ("single",)), table((0.1,), ("complete-2",))], ignore_index=True
    )
    figure = draw(both, "a model")
    assert "10 % of the training" in title_of(figure, 1)
    assert points(figure.axes[2])[0][:, 0] == pytest.approx([VALUES[k] - 0.05 for k in KINDS])


def test_one_seed_and_one_start_are_drawn_without_what_they_lack():
    kinds = [kind for kind in VALUES if kind != "independent" and not kind.endswith("_seed")]
    rows = table(roots=("complete-3",), kinds=kinds).assign(n_seeds=1)
    rows[[f"{name}_low" for name in MEASURES]] = np.nan
    figure = draw(rows, "a model")
    assert len(figure.axes[0].get_yticks()) == len(KINDS) - 3
    assert "from 3 SAEs" in title_of(figure)
    assert "(from scratch 31 %)" in title_of(figure)
    assert "at best" not in title_of(figure)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["specialised from 3 SAEs", KINDS["same_start"], KINDS["shuffled"]]


def test_without_specialised_saes_the_figure_says_so():
    assert title_of(draw(table()[:0], "a model")) == "No specialised SAEs were asked for"


def test_an_arm_of_whose_saes_one_is_silent_has_no_siblings_and_is_left_out():
    silent = table(roots=("single",), kinds=("ancestor", "specialised_seed"))
    title = title_of(draw(silent, "a model"))
    assert title == "No two specialised SAEs fire in the same latents"
    both = pd.concat([silent, table(roots=("complete-2",))])
    assert "62 % of" not in (title := title_of(draw(both, "a model")))
    assert "52 % of the latents specialised from 2 SAEs" in title
