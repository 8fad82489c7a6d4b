"""The summary figure and the table that it is drawn from."""

import numpy as np
import pandas as pd
import pytest
from drawn_texts import texts_that_lie_apart
from synthetic_circuits import Circuits, write_circuit_tables
from synthetic_results import CACHING_SECONDS, MARGINS, Experiment, write_tables

from clustersae.answer.figure_summary import draw
from clustersae.answer.summary import summary_table
from clustersae.presentation import style
from clustersae.presentation.tables import read_file

CASES = {
    "six layers": {"counts": (2, 3), "specialise": (1, 3), "lengths": (2,), "variants": True},
    "30 layers": {
        **{"n_layers": 30, "counts": (2, 3, 5, 10, 20), "variants": False, "controls": False},
        **{"specialise": (1, 10), "budgets": (0.2, 0.4)},
    },
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of a case, and the summary of them, made once."""
    made = {}

    def of(case: str) -> dict[str, pd.DataFrame]:
        if case not in made:
            experiment = Experiment(tmp_path_factory.mktemp("case"), seeds=(0, 1), **CASES[case])
            paths = write_tables(experiment)
            tasks = {"toy_agreement": 4, "toy_greater_than": 4}
            paths |= write_circuit_tables(Circuits(experiment, tasks))
            names = ("arms", "cost", "circuits", "circuit_distance")
            read = {name: read_file(paths[name]) for name in names}
            summary = summary_table(read["arms"], read["cost"], [read["circuit_distance"]])
            made[case] = read | {"summary": summary}
        return made[case]

    return of


def test_every_arm_of_at_most_full_training_but_controls_has_its_numbers(tables):
    read = tables("six layers")
    summary, arms = (read[name].set_index("arm") for name in ("summary", "arms"))
    left_out = arms.drop(summary.index)
    assert set(left_out["role"]) == {"control", "equal-exposure", "equal-compute"}
    assert (left_out.loc[left_out["role"] == "equal-compute", "matched_count"] > 6).all()
    for column in ("excess_fvu", "excess_fvu_low", "cost_relative", "cost_relative_high"):
        assert summary[column].equals(arms.loc[summary.index, column])
    circuits = read["circuits"].query(
        "task == 'all' and control == 'none' and errors == 'ablated' and ablation == 'mean'"
    )
    expected = circuits.set_index("arm").loc[summary.index, "distance"]
    assert summary["distance"].equals(expected)
    assert summary.loc["per-layer (tokens-1of2)", "budget"] == 0.5


def test_caching_and_training_add_up_to_the_cost(tables):
    summary = tables("six layers")["summary"].set_index("arm")
    parts = summary["caching_share"] + summary["training_share"]
    assert parts.to_numpy() == pytest.approx(summary["cost_relative"].to_numpy(), rel=1e-5)
    # Full per-layer SAEs: 50 s of caching, and 6 of 100.5 s on average over the two seeds.
    assert summary.loc["per-layer", "caching_share"] == pytest.approx(
        CACHING_SECONDS / (CACHING_SECONDS + 6 * 100.5), rel=1e-6
    )


def test_without_circuits_there_are_two_panels(tables):
    read = tables("six layers")
    for beside in ([], [read["circuit_distance"].iloc[:0]]):
        summary = summary_table(read["arms"], read["cost"], beside)
        assert ("distance" in summary) == bool(beside)
        assert not beside or summary["distance"].isna().all()
        assert len(draw(summary, MARGINS, "a model").axes) == 2


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_on_the_figure_and_not_on_each_other(tables, case):
    figure = draw(tables(case)["summary"], MARGINS, "a model")
    assert figure.get_figwidth() == 6.9
    texts = texts_that_lie_apart(figure)
    assert len(texts) > 30


def test_points_stand_at_the_numbers_of_the_table(tables):
    summary = tables("six layers")["summary"]
    quality = draw(summary, MARGINS, "a model").axes[0]
    found = np.concatenate([each.lines[0].get_xydata() for each in quality.containers])
    expected = summary[["cost_relative", "excess_fvu"]].to_numpy()
    assert sorted(map(tuple, found.round(9))) == sorted(map(tuple, expected.round(9)))


def test_fonts_are_embedded_as_outlines_and_the_file_is_the_same_again(tables, tmp_path):
    summary = tables("six layers")["summary"]
    files = []
    for name in ("one", "two"):
        figure = draw(summary, MARGINS, "a model")
        with style.styled():
            paths = [tmp_path / f"{name}.{kind}" for kind in ("svg", "png", "pdf")]
            style.save(figure, *paths)
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]
    assert b"<title>Quality, cost and circuits at a glance" in files[0][0]  # the page lists it so
    pdf = files[0][2]
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
