"""The figure of features: points and title against the tables that it draws."""

import numpy as np
import pytest
from drawn_texts import points, texts_that_lie_apart, title_of
from synthetic_features import Features, write_feature_tables
from synthetic_results import Experiment

from clustersae.features.figure import draw
from clustersae.presentation.points import looks_of_arms, places_of
from clustersae.presentation.style import GREY
from clustersae.presentation.tables import read_file

FEW = {"controls": False, "variants": False}
CASES = {
    "judged": (
        {"n_layers": 6, "counts": (2, 3), "specialise": (1, 3), "lengths": (2,)},
        {"judged": True},
    ),
    "no judge": ({"n_layers": 5, "counts": (2, 4), "seeds": (0, 1), "specialise": (1,)}, {}),
    "no factors, one seed": (
        {"n_layers": 5, "counts": (3,), "seeds": (0,), **FEW},
        {"factors": {}},
    ),
    "24 layers": ({"n_layers": 24, "counts": (8,), "seeds": (0,), "specialise": (1,), **FEW}, {}),
}
TITLES = {
    "meaning_other": "Same meaning on another layer?",
    "share_pairs_kept": "How many rules hold on another layer?",
    "effective_layers": "On how many layers is it active?",
    "similarity": "Does it write what per-layer SAEs write?",
    "coverage": "Are known factors still found?",
    "detection_other": "Does a judge recognise it elsewhere?",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Tables and figure of a case, made once."""
    made = {}

    def of(case):
        if case not in made:
            settings, more = CASES[case]
            experiment = Experiment(tmp_path_factory.mktemp("case"), **settings)
            paths = write_feature_tables(Features(experiment, **more))
            tables = {name: read_file(path) for name, path in paths.items()}
            made[case] = tables, draw_from(tables)
        return made[case]

    return of


def draw_from(tables, features=None):
    features = tables["features"] if features is None else features
    return draw(features, tables["feature_meaning"], tables["feature_coverage"], "a model")


def panel(figure, measure):
    title = TITLES.get(measure, measure)
    return next(axis for axis in figure.axes if axis.get_title(loc="left") == title)


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.axison]


def dashes(axis, grey):
    marks = [line for line in axis.get_lines() if line.get_marker() == "_"]
    return [line.get_ydata()[0] for line in marks if (line.get_color() == GREY) == grey]


def shown(tables):
    rows = tables["features"]
    return rows[(rows["matched_count"] <= rows["count"].max()) & (rows["role"] != "equal-exposure")]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_texts_lie_on_the_figure_and_not_on_each_other(drawn, case, alone):
    tables, figure = drawn(case)
    if alone:
        rows = tables["features"]
        figure = draw_from(tables, rows[rows["partition"] == "per-layer"])
    texts = texts_that_lie_apart(figure)
    # One seed of per-layer SAEs alone has nothing to be held against.
    least = 2 if alone and "one seed" in case else 8 if alone else 15
    assert len(texts) == 2 if least == 2 else len(texts) > least


def test_points_stand_at_the_numbers_of_the_table(drawn):
    tables, figure = drawn("judged")
    rows = shown(tables)
    assert len(rows) < len(tables["features"]) - 2  # equal exposure, twice the training
    for measure in TITLES:
        found = points(panel(figure, measure))
        values = rows[measure].dropna()
        if measure == "effective_layers":
            shared = (rows["layers_served"] > 1) | (rows["arm"] == "per-layer")
            values = rows.loc[shared, measure]
        assert sorted(height for _, height, _ in found) == pytest.approx(sorted(values)), measure
    for measure, most in {
        "meaning_other": "meaning_ceiling",
        "detection_other": "detection_ceiling",
    }.items():
        expected = rows.loc[rows[measure].notna(), most]
        assert sorted(dashes(panel(figure, measure), grey=False)) == pytest.approx(sorted(expected))
    floors = dashes(panel(figure, "similarity"), grey=True)
    assert floors == pytest.approx(rows["similarity_floor"].tolist())


def test_a_point_is_hollow_where_no_difference_is_shown(drawn):
    tables, figure = drawn("judged")
    assert all(filled for *_, filled in points(panel(figure, "coverage")))
    changed = tables["features"].copy()
    single = changed["arm"] == "single"
    changed.loc[single, "coverage_vs_baseline_high"] = 0.01
    changed.loc[single, "meaning_lost_low"] = -0.01
    figure = draw_from(tables, changed)
    for measure in ("coverage", "meaning_other"):
        hollow = [height for _, height, filled in points(panel(figure, measure)) if not filled]
        assert hollow == pytest.approx(changed.loc[single, measure].tolist())


def test_rules_by_distance_are_means_over_pairs(drawn):
    tables, figure = drawn("judged")
    rows = tables["feature_meaning"]
    rows = rows[rows["arm"] == "single"]
    by_hand = [
        rows.loc[(rows["layer"] - rows["other_layer"]).abs() == apart, "balanced_accuracy"].mean()
        for apart in range(6)
    ]
    lines = panel(figure, "How far does a rule carry?").get_lines()
    assert lines[0].get_ydata().tolist() == pytest.approx(by_hand)
    assert lines[0].get_xdata().tolist() == list(range(6))
    assert len(lines) == 4  # that of the cheapest specialised SAEs, and chance for each


def test_the_title_says_what_is_kept_and_what_it_costs(drawn):
    tables, figure = drawn("judged")
    row = tables["features"].set_index("arm").loc["single"]
    alone = tables["features"].set_index("arm").loc["per-layer"]
    assert title_of(figure) == (
        f"One SAE for all layers: {100 * row['share_pairs_kept']:.0f} % of rules keep their meaning"
        f" on another layer ({100 * row['share_kept']:.1f} % of latents theirs on all); rules are"
        " right at"
        f" {row['meaning_ceiling']:.2f} on their own layer, {row['meaning_other']:.2f} on others,"
        f" {row['meaning_floor']:.2f} by chance; known factors are found with F1"
        f" {row['coverage']:.2f}, per layer {alone['coverage']:.2f}"
    )
    changed = tables["features"].copy()
    changed.loc[changed["arm"] == "single", "coverage_vs_baseline_high"] = 0.01
    assert title_of(draw_from(tables, changed)).endswith("(no difference shown)")


def test_panels_are_those_that_something_was_measured_for(drawn):
    assert len(titles(drawn("judged")[1])) == 7
    without_judge = titles(drawn("no judge")[1])
    assert TITLES["detection_other"] not in without_judge
    assert len(without_judge) == 6
    _, figure = drawn("no factors, one seed")
    assert len(titles(figure)) == 4
    assert TITLES["similarity"] not in titles(figure)
    assert "known factors" not in title_of(figure)
    assert "factor values" not in title_of(figure, 1)
    assert "no other seed to be similar to" in title_of(figure, 1)
    assert len(figure.legends) == 1
    figure = drawn("24 layers")[1]
    # Its axes would be empty; the legend stands there.
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False]
    assert not figure.legends


def test_without_shared_latents_the_title_says_so(drawn):
    tables, _ = drawn("no judge")
    rows = tables["features"]
    figure = draw_from(tables, rows[rows["partition"] == "per-layer"])
    assert title_of(figure) == "No SAE serves several layers, so no latent can change its meaning"
    assert titles(figure) == [TITLES["similarity"], TITLES["coverage"]]
    assert "rule" not in title_of(figure, 1)


def test_latents_that_could_not_be_asked_leave_their_panels_out(drawn):
    tables, _ = drawn("no judge")
    unasked = tables["features"].copy()
    about = [name for name in unasked if name.startswith(("meaning", "share_"))]
    unasked[[name for name in about if "n_layers" not in name]] = np.nan
    figure = draw_from(tables, unasked)
    assert "no rule could be tested on another layer" in title_of(figure)
    assert titles(figure) == [
        TITLES[name] for name in ("effective_layers", "similarity", "coverage")
    ]


def test_the_factor_that_is_lost_most_is_named(drawn):
    label = panel(drawn("judged")[1], "coverage").get_xlabel()
    rows = drawn("judged")[0]["feature_coverage"]
    row = rows[(rows["arm"] == "single") & (rows["factor"] == "subject")].iloc[0]
    assert row["f1_vs_baseline_p"] < 0.01
    assert label.endswith(f"(most lost: subject, −{abs(row['f1_vs_baseline']):.2f})")


def test_arms_of_one_training_stand_beside_the_main_one(drawn):
    rows = shown(drawn("judged")[0])
    places = places_of(rows, 6)
    main = rows[rows["role"] == "main"]
    assert {name: places[name] for name in main["arm"]} == dict(zip(main["arm"], main["count"]))
    gaps = np.diff(sorted(places.values()))
    assert gaps.min() > 0.1
    looks = looks_of_arms(rows, 6)
    assert set(looks) == set(rows["arm"]) - {"per-layer"}
    # Budgets are fractions, and those of one size not all equal: none hides another.
    near = rows.assign(matched_count=rows["matched_count"] + 0.001 * np.arange(len(rows)))
    assert np.diff(sorted(places_of(near, 6).values())).min() > 0.1
