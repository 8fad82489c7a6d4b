"""What a program can see of a figure: texts that collide, titles and points that are not true."""

from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import synthetic_results
from drawn_texts import texts_of, texts_that_lie_apart, title_of
from matplotlib.figure import Figure
from synthetic_results import Experiment, plan_of, write_tables

from clustersae.cost import figure as cost
from clustersae.experiment.arms import saes_of
from clustersae.experiment.clusters import FROM, layers_of, parent
from clustersae.experiment.variants import variant_scales
from clustersae.presentation import style
from clustersae.presentation.saes import saes_of_arm
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.tables import read_file
from clustersae.quality import figure_gaps as gaps
from clustersae.quality import figure_latent_density as latent_density
from clustersae.quality import figure_layer_distances as layer_distances
from clustersae.quality import figure_layer_fvu as layer_fvu
from clustersae.quality import figure_quality_cost as quality_cost
from clustersae.quality import figure_specialise as specialise
from clustersae.quality import figure_training_curves as training_curves
from clustersae.runtime.files import read_json

NAMES = (
    *("layer_distances", "quality_cost", "layer_fvu", "cost", "training_curves"),
    *("latent_density", "specialise"),
)
CASES = {
    "six layers": {"counts": (2, 3, 4), "noise": 0.02},
    "one seed, one K": {
        **{"n_layers": 5, "seeds": (0,), "counts": (3,), "noise": 0.02},
        **{"variants": False, "splice": False},
    },
    "no K is enough": {"n_layers": 6, "counts": (4, 5), "spread": 0.4, "seeds": (0, 1)},
    "24 layers": {"n_layers": 24, "counts": (4, 8, 9, 16), "seeds": (0,), "variants": False},
    "baseline only": {"n_layers": 5, "counts": (3,), "variants": False, "seeds": (0, 1)},
    "specialised": {
        **{"n_layers": 5, "counts": (2, 3, 4), "controls": False, "seeds": (0, 1)},
        **{"noise": 0.02, "specialise": (1, 3), "budgets": (0.15, 0.2, 0.4, 0.6)},
        **{"lengths": (0.25, 0.5, 2), "rivals": (0.4,)},
    },
    "one start, one budget": {
        **{"n_layers": 4, "counts": (2,), "seeds": (0,), "variants": False, "controls": False},
        **{"specialise": (2,), "budgets": (0.4,), "splice": False, "noise": 0.02},
    },
    "24 layers, specialised": {
        **{"n_layers": 24, "counts": (8,), "seeds": (0,), "variants": False, "controls": False},
        **{"specialise": (1, 8), "budgets": (0.4,)},
    },
}
MARGINS = synthetic_results.MARGINS


def learned(variant, name, layer, seed, n_layers, spread):
    """FVU that falls with training; what was learned on other layers counts for less."""
    seen, width = 0.0, variant_scales(variant, 1)[1]
    worth = 0.55 if FROM not in name else 1.0
    while name:
        n = len(layers_of(name))
        seen += variant_scales(variant, n)[0] * worth ** min(n - 1, 4)
        variant, name, worth = parent(variant), parent(name), 0.8
    return (0.03 + 0.03 * layer) * (1 + 0.01 * seed) * (0.5 + 0.5 * seen**-0.6) * width**-0.3


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Tables and figures of a case, made once."""
    made = {}

    def of(case: str) -> tuple[dict, dict]:
        if case not in made:
            fvu = learned if "specialise" in CASES[case] else synthetic_results.fvu
            with mock.patch.object(synthetic_results, "fvu", fvu):
                experiment = Experiment(tmp_path_factory.mktemp("case"), **CASES[case])
            plan = plan_of(experiment)
            if case == "baseline only":
                plan.arms = plan.arms[:1]
            tables = write_tables(experiment, plan=plan)
            made[case] = tables, _draw_all(experiment, tables)
        return made[case]

    return of


def _draw_all(experiment: Experiment, tables: dict[str, Path]) -> dict:
    read = {name: read_file(path) for name, path in tables.items() if path.suffix == ".csv"}
    arms, quality, model = read["arms"], read["layer_quality"], "a model"
    description = read_json(experiment.partitions_file)
    return {
        "layer_distances": layer_distances.draw(
            read_file(experiment.distances_file), description, arms, model
        ),
        "quality_cost": quality_cost.draw(arms, MARGINS, model),
        "layer_fvu": layer_fvu.draw(quality, arms, model),
        "cost": cost.draw(read["cost"], arms, model),
        "training_curves": training_curves.draw(read["training"], quality, arms, model),
        "latent_density": latent_density.draw(read["latent_density"], quality, arms, model),
        "specialise": specialise.draw(arms, read["comparisons"], MARGINS, model),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_texts_lie_on_the_figure_and_not_on_each_other(drawn, case, name):
    figure = drawn(case)[1][name]
    texts = texts_that_lie_apart(figure)
    assert len(texts) > (5 if name != "specialise" or "specialise" in CASES[case] else 1)


def test_where_caching_is_most_of_the_bill_numbers_of_saes_stand_apart(drawn):
    arms = read_file(drawn("24 layers, specialised")[0]["arms"])
    costs = {"single": 0.9, "complete-8": 0.98, "per-layer": 1.0}
    assert {*costs} < {*arms["arm"]}
    arms["cost_relative"] = arms["arm"].map(costs).fillna(0.1)
    texts_that_lie_apart(quality_cost.draw(arms, MARGINS, "a model"))


def test_where_sharing_gains_no_layer_is_said_to_lose(drawn):
    tables, _ = drawn("one seed, one K")
    arms, quality = (read_file(tables[name]) for name in ("arms", "layer_quality"))
    shown = arms["arm"] == shared(arms)["arm"]
    base = quality[quality["arm"] == "per-layer"].set_index(["layer", "seed", "split"])["fvu"]
    own = quality["arm"].isin(arms.loc[shown, "arm"])
    places = pd.MultiIndex.from_frame(quality.loc[own, ["layer", "seed", "split"]])
    quality.loc[own, "fvu"] = 0.98 * base.loc[places].to_numpy()
    arms.loc[shown, "excess_fvu"] = -0.02
    title = title_of(layer_fvu.draw(quality, arms, "a model"))
    assert title == "With 3 SAEs for 5 layers, no layer loses; the mean changes by −2.0 %"


def test_a_layer_whose_latents_are_all_dead_has_no_histogram(drawn):
    tables, _ = drawn("one seed, one K")
    arms, quality, density = (
        read_file(tables[name]) for name in ("arms", "layer_quality", "latent_density")
    )
    silent = (density["variant"] == "base") & (density["cluster"] == "3")
    density = density[~silent | (density["kind"] == "dead")]
    panels = latent_density.draw(density, quality, arms, "a model").axes
    assert "dead 100 %" in [text.get_text() for text in panels[3].texts]
    assert len(panels[3].patches) == len(panels[2].patches) - 1


def test_titles_are_computed_from_the_tables(drawn):
    tables, figures = drawn("six layers")
    row = shared(read_file(tables["arms"]))
    title = title_of(figures["quality_cost"])
    assert title.startswith(f"{row['count']} SAEs instead of 6: mean FVU")
    assert f"+{100 * row['excess_fvu']:.1f} %" in title
    assert f"worst layer +{100 * row['excess_fvu_worst']:.1f} %" in title
    fvu = title_of(figures["layer_fvu"])
    assert f"layer {row['worst_excess_layer']} loses most" in fvu
    none = title_of(drawn("no K is enough")[1]["quality_cost"])
    assert none.startswith("No shared arm of the main method is within the margins")


def test_bars_and_points_stand_at_the_numbers_of_the_tables(drawn):
    tables, figures = drawn("six layers")
    quality = read_file(tables["layer_quality"])
    arms = read_file(tables["arms"])
    chosen = shared(arms)["arm"]
    test = quality[quality["split"] == "test"]
    means = test.groupby(["arm", "layer"])["fvu"].mean()
    excess = means[chosen] / means["per-layer"] - 1
    heights = [bar.get_height() for bar in figures["layer_fvu"].axes[1].containers[0]]
    assert heights == pytest.approx(list(excess), rel=1e-6)
    main = arms[arms["role"].isin(["main", "baseline"])].sort_values("cost_relative")
    lines = [line.get_xydata() for line in figures["quality_cost"].axes[0].get_lines()]
    expected = main[["cost_relative", "excess_fvu"]].to_numpy()
    assert any(line.shape == expected.shape and np.allclose(line, expected) for line in lines)


def _lines(axis) -> list[np.ndarray]:
    return [line.get_xydata() for line in axis.get_lines()]


def _is_drawn(axis, points: pd.DataFrame) -> bool:
    expected = points.to_numpy(float)
    return any(
        line.shape == expected.shape and np.allclose(line, expected) for line in _lines(axis)
    )


def test_specialised_arms_are_one_line_per_start_beside_every_length_of_training(drawn):
    tables, figures = drawn("specialised")
    arms = read_file(tables["arms"]).sort_values("cost_relative")
    lengths = arms[(arms["partition"] == "per-layer") & ~arms["variant"].str.startswith("narrower")]
    assert len(lengths) == 9  # four budgets, 0.8 for K = 4, three lengths, and the full one
    starts = arms[arms["role"] == "specialised"].groupby("partition")
    assert len(starts) == 2
    assert lengths["cost_relative"].max() > 1.5
    for axis, column in zip(figures["specialise"].axes, ("fvu", "fvu_worst", "delta_ce_all")):
        for _, rows in [*starts, (None, arms[arms["role"] == "main"])]:
            assert _is_drawn(axis, rows[["cost_relative", column]])
        measured = lengths[lengths[column].notna()]
        assert _is_drawn(axis, measured[["cost_relative", column]])
        assert axis.get_xscale() == axis.get_yscale() == "log"


def test_gaps_are_the_comparisons_at_equal_training_and_at_the_usual_fraction(drawn):
    tables, figures = drawn("specialised")
    arms, rows = read_file(tables["arms"]), read_file(tables["comparisons"])
    axis = figures["specialise"].axes[3]
    for partition in ("per-layer@single", "per-layer@complete-3"):
        own = arms[arms["partition"] == partition].set_index("matched_count")["arm"]
        # Five layers: 0.75 SAEs' worth of training is a budget of 0.15, and so on.
        equal = {0.75: "tokens-3of20", 1: "tokens-1of5", 2: "tokens-2of5", 3: "tokens-3of5"}
        for points in (equal, {1: "tokens-1of2", 2: None}):
            expected = []
            for count, variant in points.items():
                against = f"per-layer ({variant})" if variant else "per-layer"
                row = rows[(rows["arm"] == own[count]) & (rows["against"] == against)].iloc[0]
                expected.append((row["against_matched_count"] / 5, row["excess_fvu"]))
            assert _is_drawn(axis, pd.DataFrame(expected))


def test_the_fraction_drawn_is_the_one_that_most_lengths_have():
    pairs = [(0.4, 1), (0.41, 0.5), (0.4, 2), (0.2, 1), (0.2, 0.5), (1, 0.2), (0.7, 1)]
    rows = pd.DataFrame(pairs, columns=["ratio", "length"])
    assert gaps._usual_ratio(rows) == 0.4
    assert gaps._usual_ratio(rows[rows["ratio"] != 0.4]) == 0.2
    assert gaps._usual_ratio(rows[rows["ratio"] == 1]) is None


def test_hopeless_sharing_does_not_flatten_the_panels(drawn):
    tables, _ = drawn("specialised")
    arms, comparisons = read_file(tables["arms"]), read_file(tables["comparisons"])
    hopeless = arms["arm"] == "single"
    names = [name for name in arms if name.startswith("fvu")]
    arms.loc[hopeless, names] *= 10
    figure = specialise.draw(arms, comparisons, MARGINS, "a model")
    worst = arms.loc[arms["partition"] == "per-layer", "fvu"].max()
    assert worst < figure.axes[0].get_ylim()[1] < 2 * worst
    far = arms.loc[hopeless, "fvu"].item()
    assert f"K = 1: {far:.2g} ↑" in [text for text, _ in texts_of(figure)]


def test_a_figure_without_specialised_arms_says_so(drawn):
    texts = [text for text, _ in texts_of(drawn("six layers")[1]["specialise"])]
    assert texts[0] == "No specialised SAEs were asked for"


def test_other_figures_show_one_specialised_arm_or_one_per_budget(drawn):
    tables, figures = drawn("specialised")
    arms, training = read_file(tables["arms"]), read_file(tables["training"])
    best = specialised(arms)
    quality = [text for text, _ in texts_of(figures["quality_cost"])]
    assert sum("specialised" in text for text in quality) == 1
    worst = arms[arms["role"] == "specialised"].groupby("matched_count")
    rows = arms.loc[worst["excess_fvu_worst_validation"].idxmin()].sort_values("cost_relative")
    assert len(rows) == 4
    assert _is_drawn(figures["quality_cost"].axes[0], rows[["cost_relative", "excess_fvu"]])
    # No SAE that was trained for longer than the full ones stretches the axis of costs.
    assert figures["quality_cost"].axes[0].get_xlim()[1] < 1.2 < arms["cost_relative"].max()
    names = [text for text, _ in texts_of(figures["cost"])]
    assert sum(name.startswith("specialised") for name in names) == 1
    bars = figures["layer_fvu"].axes[1].containers
    assert len(bars) == 2
    means = read_file(tables["layer_quality"]).query("split == 'test'")
    means = means.groupby(["arm", "layer"])["fvu"].mean()
    excess = means[best["arm"]] / means["per-layer"] - 1
    assert [bar.get_height() for bar in bars[1]] == pytest.approx(list(excess), rel=1e-6)
    title = figures["training_curves"].axes[2].get_title(loc="left")
    assert title.startswith("Specialised")
    last = figures["training_curves"].axes[2].get_lines()
    assert len(last) == len({name for _, name in _all_of(best, tables)})
    assert training["activations"].max() >= max(line.get_xdata().max() for line in last)


def _all_of(arm: pd.Series, tables: dict) -> set[tuple[str, str]]:
    found = set()
    for variant, name in saes_of_arm(read_file(tables["layer_quality"]), arm["arm"]):
        while name:
            found.add((variant, name))
            variant, name = parent(variant), parent(name)
    return found


def test_the_saes_of_an_arm_are_those_of_the_plan(drawn):
    for case in ("specialised", "one start, one budget", "six layers"):
        tables, _ = drawn(case)
        quality, arms = read_file(tables["layer_quality"]), read_file(tables["arms"])
        description = read_json(tables["arms"].parents[1] / "clusters/partitions.json")
        for _, arm in arms.iterrows():
            expected = saes_of(description, arm["variant"], arm["partition"])
            assert sorted(saes_of_arm(quality, arm["arm"])) == sorted(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.15, 2.5, [0.2, 0.5, 1, 2]),
        (0.09, 1.2, [0.1, 0.2, 0.5, 1]),
        (0.55, 1.05, [0.6, 0.7, 0.8, 0.9, 1]),
        (0.21, 0.225, [0.21, 0.215, 0.22, 0.225]),
        (1e-3, 1e3, [1e-3, 1e-2, 0.1, 1, 10, 100, 1000]),
    ],
)
def test_ticks_of_log_axes_are_few_and_round(low, high, expected):
    axis = Figure().subplots()
    axis.set_ylim(low, high)
    style.log_scale(axis, "y", 7 if high > 10 else 5, lambda value: f"{value:g}")
    assert axis.get_yticks() == pytest.approx(expected)
    assert axis.get_ylim() == (low, high)


def test_scattered_clusters_are_outlined_cell_by_cell():
    same = layer_distances._same([(0, 2), (1,)], 3)
    assert same.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert layer_fvu.runs((4, 5, 7), range(9)) == [(4, 5), (7, 7)]
    assert layer_fvu.runs((4, 6, 10), [2, 4, 6, 8, 10]) == [(4, 6), (10, 10)]


def test_a_single_layer_is_near_no_other():
    finding = layer_distances._finding(np.zeros((1, 1)), ["0"], "angular")
    assert finding == "The model has one layer, which is near no other"


def test_labels_are_spread_apart_in_order():
    places = training_curves.spread(np.array([0.0, 0.01, 0.02, 1.0]), 0.1)
    assert (np.diff(places) >= 0.1 - 1e-6).all()
    assert places[:3].mean() == pytest.approx(0.01, abs=1e-3)
    assert places[3] == 1
    assert list(np.argsort(training_curves.spread(np.array([3.0, 1.0, 2.0]), 5))) == [1, 2, 0]


@pytest.mark.parametrize(
    ("variant", "count", "name"),
    [
        ("tokens-3of2", 6, "per-layer, more tokens"),
        ("tokens-1of2", 2, "per-layer, fewer tokens"),
        ("narrower-1of2", 2, "per-layer, narrower"),
    ],
)
def test_per_layer_saes_are_named_by_what_differs(variant, count, name):
    row = {"role": "equal-compute", "variant": variant, "matched_count": count}
    assert style.name_of(pd.Series(row), n_layers=4) == name
