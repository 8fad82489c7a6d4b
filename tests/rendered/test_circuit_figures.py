"""The figures of circuits: points and titles against the tables that they draw."""

import numpy as np
import pytest
from drawn_texts import points, texts_of, texts_that_lie_apart, title_of
from synthetic_circuits import SIZES, TASKS, Circuits, write_circuit_tables
from synthetic_results import Experiment

from clustersae.circuits import figure_areas as circuits
from clustersae.circuits import figure_curves as circuit_curves
from clustersae.presentation import style
from clustersae.presentation.tables import read_file

CASES = {
    "three tasks": ({"n_layers": 6, "counts": (2, 3), "specialise": (1, 3), "lengths": (2,)}, None),
    "one task, one seed": (
        {
            **{"n_layers": 5, "counts": (3,), "seeds": (0,)},
            **{"controls": False, "variants": False},
        },
        {"agreement_across_a_relative_clause": 20},
    ),
    "six tasks, 24 layers": (
        {"n_layers": 24, "counts": (8,), "seeds": (0,), "specialise": (1,), "controls": False},
        dict.fromkeys("abcdef", 4),
    ),
    "no task": ({"n_layers": 4, "counts": (2,), "seeds": (0,), "controls": False}, {}),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Tables and figures of a case, made once."""
    made = {}

    def of(case: str) -> tuple[dict, dict]:
        if case not in made:
            settings, tasks = CASES[case]
            experiment = Experiment(tmp_path_factory.mktemp("case"), **settings)
            paths = write_circuit_tables(Circuits(experiment, tasks))
            tables = {name: read_file(path) for name, path in paths.items()}
            made[case] = tables, draw_both(tables)
        return made[case]

    return of


def draw_areas(tables, errors="ablated", ablation="mean"):
    return circuits.draw(tables["circuits"], tables["tasks"], errors, ablation, "a model")


def draw_curves(tables):
    areas, tasks = tables["circuits"], tables["tasks"]
    return circuit_curves.draw(tables["circuit_curves"], areas, tasks, "mean", "a model")


def draw_both(tables):
    return {"areas": draw_areas(tables), "curves": draw_curves(tables)}


def rows_of(tables, task, control="none"):
    table = tables["circuits"].query("errors == 'ablated' and ablation == 'mean'")
    return table[(table["task"] == task) & (table["control"] == control)].set_index("arm")


@pytest.mark.parametrize("name", ["areas", "curves"])
@pytest.mark.parametrize("case", CASES)
def test_texts_lie_on_the_figure_and_not_on_each_other(drawn, case, name):
    figure = drawn(case)[1][name]
    assert texts_that_lie_apart(figure)


def test_the_title_says_which_measures_tell_arms_apart(drawn):
    tables, figures = drawn("three tasks")
    rows = rows_of(tables, "all")
    single, baseline = rows.loc["single"], rows.loc["per-layer"]
    text = {
        name: f"{name} ({single[name]:.2f} against {baseline[name]:.2f})"
        for name in ("distance", "completeness", "deviation")
    }
    assert title_of(figures["areas"]) == (
        "One SAE for all layers against per-layer SAEs: worse by"
        f" {text['distance']} and {text['deviation']}; equivalent by"
        f" {text['completeness']}"
    )


def test_a_single_sae_that_looks_better_is_called_that(drawn):
    tables, _ = drawn("one task, one seed")
    areas = tables["circuits"].copy()
    areas["distance_verdict"] = areas["distance_verdict"].astype(object)
    areas.loc[areas["arm"] == "single", "distance_verdict"] = "better"
    assert "better by distance" in title_of(draw_areas(tables | {"circuits": areas}))
    without = areas[areas["arm"] != "single"]
    assert title_of(draw_areas(tables | {"circuits": without})).startswith("How much of")


def test_points_stand_at_the_numbers_of_the_table(drawn):
    tables, figures = drawn("three tasks")
    axes = np.reshape(figures["areas"].axes, (3, 4))
    for column, task in zip(axes.T, [*TASKS, "all"]):
        rows = rows_of(tables, task)
        short = rows[(rows["matched_count"] <= 6) & (rows["role"] != "equal-exposure")]
        shown = short.drop(["per-layer", "residual-basis"])
        assert len(shown) < len(rows) - 3  # equal exposure, twice the training
        for axis, measure in zip(column, ("distance", "completeness", "deviation")):
            found = points(axis)
            assert sorted(y for _, y, _ in found) == pytest.approx(sorted(shown[measure]))
            main = rows[rows["role"] == "main"]
            places = {(round(x, 6), round(y, 6)) for x, y, _ in found}
            # The main method stands at its K; what costs as much, beside it.
            assert {(k, round(y, 6)) for k, y in zip(main["count"], main[measure])} <= places
            decided = shown[f"{measure}_verdict"] != "undecided"
            assert sum(filled for *_, filled in found) == decided.sum()


def test_controls_are_lines_at_their_numbers(drawn):
    tables, figures = drawn("three tasks")
    axis = figures["areas"].axes[0]
    dashed = {
        line.get_linestyle() != "-": line.get_ydata()[0]
        for line in axis.get_lines()
        if line.get_color() == style.GREY
    }
    heights = {line.get_ydata()[0] for line in axis.get_lines() if line.get_color() == style.GREY}
    basis = rows_of(tables, "toy_agreement")["distance"]["residual-basis"]
    random = rows_of(tables, "toy_agreement", "random")["distance"]["per-layer"]
    assert sorted(heights) == pytest.approx(sorted((basis, random)))
    assert list(dashed) == [True]
    # All latents are no circuit, and dimensions of the stream deviate in nothing.
    deviation = figures["areas"].axes[8]
    assert not [line for line in deviation.get_lines() if line.get_color() == style.GREY]
    assert deviation.get_ylim()[0] == 0


def test_other_modes_are_drawn_without_random_circuits(drawn):
    tables, _ = drawn("three tasks")
    figure = draw_areas(tables, "kept", "zero")
    assert "errors kept · zero ablation" in title_of(figure, 1)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "no SAE: residual basis" in names
    assert not [name for name in names if name.startswith("random circuits")]
    assert "specialised from 1 SAE" in names
    assert "specialised from 3 SAEs" in names


def without_numbers(tables, *tasks):
    """As the tables are where the gap is too small."""
    areas, curves = tables["circuits"].copy(), tables["circuit_curves"].copy()
    names = ("faithfulness", "distance", "completeness", "all_latents", "deviation")
    areas.loc[areas["task"].isin(tasks), [n for n in areas if n.startswith(names)]] = np.nan
    curves.loc[curves["task"].isin(tasks), ["faithfulness", "completeness"]] = np.nan
    return tables | {"circuits": areas, "circuit_curves": curves}


def test_a_task_without_numbers_is_an_empty_column(drawn):
    tables, whole = drawn("three tasks")
    figures = draw_both(without_numbers(tables, "toy_greater_than", "all"))
    axes = np.reshape(figures["areas"].axes, (3, 4))
    titles = [axis.get_title("left") for axis in axes[0]]
    assert [text.endswith("prompts: small gap") for text in titles] == [0, 1, 0, 1]
    assert not [point for axis in axes[:, 1] for point in points(axis)]
    others = np.reshape(whole["areas"].axes, (3, 4))
    for axis, other in zip(axes[:, 0], others[:, 0]):
        assert points(axis) == points(other)
    assert title_of(figures["areas"]).startswith("How much of each task")
    assert "per-layer not known" in title_of(figures["curves"])
    assert np.isfinite(figures["curves"].axes[0].get_ylim()).all()


def test_nothing_to_draw_is_no_error(drawn):
    tables, _ = drawn("three tasks")
    figures = draw_both(without_numbers(tables, *TASKS, "all"))
    for figure in figures.values():
        assert len(texts_of(figure)) > 5
    assert figures["areas"].axes[-1].get_ylim() == (0, 1)
    assert "not compared" in title_of(figures["areas"], 1)


def test_zero_ablation_compares_no_arms(drawn):
    tables, _ = drawn("three tasks")
    figure = draw_areas(tables, "ablated", "zero")
    assert title_of(figure) == "How much of each task the circuits of every arm carry"
    assert "hollow: not compared (with zero ablation" in title_of(figure, 1)
    found = points(figure.axes[0])
    assert found
    assert not any(filled for *_, filled in found)


def test_an_arm_without_a_number_is_left_out(drawn):
    tables, whole = drawn("three tasks")
    areas = tables["circuits"].copy()
    own = areas["arm"].isin(("single", "per-layer")) & (areas["task"] == "toy_agreement")
    areas.loc[own, [n for n in areas if n.startswith("distance")]] = np.nan
    figure = draw_areas(tables | {"circuits": areas})
    assert len(points(figure.axes[0])) == len(points(whole["areas"].axes[0])) - 1


def test_one_seed_has_intervals_over_prompts_alone(drawn):
    figures = drawn("one task, one seed")[1]
    assert "95 % intervals over prompts ·" in title_of(figures["areas"], 1)
    assert len(figures["areas"].axes) == 3
    assert "1 seed ·" in title_of(figures["curves"], 1)


def test_curves_are_those_of_the_table(drawn):
    tables, figures = drawn("three tasks")
    axes = np.reshape(figures["curves"].axes, (3, 4))
    curves = tables["circuit_curves"]
    for line, errors in zip(axes, ("ablated", "nodes", "kept")):
        for axis, task in zip(line, [*TASKS, "all"]):
            own = curves[(curves["errors"] == errors) & (curves["task"] == task)]
            own = own[(own["ablation"] == "mean") & (own["arm"] == "single")]
            own = own[own["control"] == "none"]
            blue = [
                each.get_ydata()
                for each in axis.get_lines()
                if each.get_color() == style.METHOD_COLOURS["single"] and len(each.get_xdata())
            ]
            assert [list(each) for each in blue] == [
                pytest.approx(own[name].tolist()) for name in ("faithfulness", "completeness")
            ]
    n_lines = [len(axis.get_lines()) for axis in axes[:, 1]]
    # Two at 0 and 1, two per arm; random circuits are drawn for the first mode alone.
    assert n_lines[1:] == [12, 12]


def test_the_title_of_curves_counts_nodes(drawn):
    tables, figures = drawn("three tasks")
    curves = tables["circuit_curves"].query("errors == 'ablated' and ablation == 'mean'")
    of_all = curves[(curves["task"] == "all") & (curves["faithfulness"] >= 0.5)]
    sizes = of_all[of_all["control"] == "none"].groupby("arm")["size"].min()
    assert f"per-layer {sizes['per-layer']}, " in title_of(figures["curves"])
    assert f"one SAE for all {sizes['single']}, " in title_of(figures["curves"])
    curves = tables["circuit_curves"].copy()
    curves.loc[curves["arm"] == "residual-basis", "faithfulness"] *= 0.1
    figure = draw_curves(tables | {"circuit_curves": curves})
    assert f"no SAE more than {SIZES[-1]}" in title_of(figure)


def test_excursions_do_not_flatten_the_curves(drawn):
    tables, _ = drawn("one task, one seed")
    curves = tables["circuit_curves"].copy()
    curves.loc[3, "faithfulness"] = 90.0
    curves.loc[4, "completeness"] = -90.0
    figure = draw_curves(tables | {"circuit_curves": curves})
    assert figure.axes[0].get_ylim() == (-1, 2)


def test_without_a_task_the_figures_say_so(drawn):
    for figure in drawn("no task")[1].values():
        assert title_of(figure) == ("No circuits: none of the tasks that were asked for is usable")
        assert "tried: toy_arithmetic" in title_of(figure, 1)


def test_the_script_writes_the_same_bytes_twice(tmp_path):
    import draw

    settings, tasks = CASES["one task, one seed"]
    paths = write_circuit_tables(Circuits(Experiment(tmp_path, **settings), tasks))
    mode = {"errors": "ablated", "ablation": "mean"}
    drawn = {
        "areas": ({"circuits": "circuits", "tasks": "tasks"}, mode),
        "curves": (
            {"curves": "circuit_curves", "circuits": "circuits", "tasks": "tasks"},
            {"ablation": "mean"},
        ),
    }
    for name, (tables, options) in drawn.items():
        read = {argument: str(paths[table]) for argument, table in tables.items()}
        for copy in ("a", "b"):
            files = [tmp_path / f"{name}_{copy}.{end}" for end in ("svg", "png")]
            module = f"clustersae.circuits.figure_{name}"
            draw.main(module, read, options, "a model", *files)
        for end in ("svg", "png"):
            one, other = (tmp_path / f"{name}_{copy}.{end}" for copy in ("a", "b"))
            assert one.read_bytes() == other.read_bytes()
        assert b"<dc:date>" not in (tmp_path / f"{name}_a.svg").read_bytes()
