"""What a program can see of a figure: texts that collide, titles and points that are not true."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from synthetic_results import Experiment, write_tables

from clustersae.figures import (
    cost,
    latent_density,
    layer_distances,
    layer_fvu,
    quality_cost,
    style,
    training_curves,
)
from clustersae.files import read_json
from clustersae.tables.read import read_file

NAMES = (
    *("layer_distances", "quality_cost", "layer_fvu", "cost", "training_curves"),
    "latent_density",
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
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Tables and figures of a case, made once."""
    made = {}

    def of(case: str) -> tuple[dict, dict]:
        if case not in made:
            experiment = Experiment(tmp_path_factory.mktemp("case"), **CASES[case])
            changes = {"arms": experiment.arms[:1]} if case == "baseline only" else {}
            tables = write_tables(experiment, **changes)
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
        "quality_cost": quality_cost.draw(arms, 0.12, model),
        "layer_fvu": layer_fvu.draw(quality, arms, model),
        "cost": cost.draw(read["cost"], arms, model),
        "training_curves": training_curves.draw(read["training"], quality, arms, model),
        "latent_density": latent_density.draw(read["latent_density"], quality, arms, model),
    }


def _texts(figure) -> list[tuple[str, np.ndarray]]:
    """Every text that was drawn, with its box (x0, y0, x1, y1) in pixels."""
    drawn, draw = {}, Text.draw

    def record(text: Text, renderer) -> None:
        # Labels of ticks beyond the limits are laid out but never come here.
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        draw(text, renderer)

    with style.styled(), mock.patch.object(Text, "draw", record):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        return [
            (text.get_text(), text.get_window_extent(renderer).extents) for text in drawn.values()
        ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_texts_lie_on_the_figure_and_not_on_each_other(drawn, case, name):
    figure = drawn(case)[1][name]
    width, height = figure.get_size_inches() * figure.dpi
    texts = _texts(figure)
    assert len(texts) > 5
    for text, (x0, y0, x1, y1) in texts:
        assert x0 > -1, text
        assert y0 > -1, text
        assert x1 < width + 1, text
        assert y1 < height + 1, text
    for (one, a), (other, b) in combinations(texts, 2):
        overlap = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        assert min(overlap) < 2, f"{one!r} and {other!r} overlap by {overlap} pixels"


def test_titles_are_computed_from_the_tables(drawn):
    tables, figures = drawn("six layers")
    arms = read_file(tables["arms"]).set_index("arm")
    row = arms[arms["chosen"]].iloc[0]
    title = figures["quality_cost"].texts[0].get_text().replace("\u00a0", " ").replace("\n", " ")
    assert title.startswith(f"{row['count']} SAEs instead of 6: mean FVU")
    assert f"+{100 * row['excess_fvu']:.1f} %" in title
    assert f"worst layer +{100 * row['excess_fvu_worst']:.1f} %" in title
    fvu = figures["layer_fvu"].texts[0].get_text().replace("\u00a0", " ").replace("\n", " ")
    assert f"layer {row['worst_excess_layer']} loses most" in fvu
    none = drawn("no K is enough")[1]["quality_cost"].texts[0].get_text()
    assert none.startswith("No K is within tolerance")


def test_bars_and_points_stand_at_the_numbers_of_the_tables(drawn):
    tables, figures = drawn("six layers")
    quality = read_file(tables["layer_quality"])
    arms = read_file(tables["arms"])
    chosen = arms[arms["chosen"]].iloc[0]["arm"]
    test = quality[quality["split"] == "test"]
    means = test.groupby(["arm", "layer"])["fvu"].mean()
    excess = means[chosen] / means["per-layer"] - 1
    heights = [bar.get_height() for bar in figures["layer_fvu"].axes[1].containers[0]]
    assert heights == pytest.approx(list(excess), rel=1e-6)
    main = arms[arms["role"].isin(["main", "baseline"])].sort_values("cost_relative")
    lines = [line.get_xydata() for line in figures["quality_cost"].axes[0].get_lines()]
    expected = main[["cost_relative", "excess_fvu"]].to_numpy()
    assert any(line.shape == expected.shape and np.allclose(line, expected) for line in lines)


def test_the_same_tables_give_the_same_bytes(drawn, tmp_path):
    import figure_quality_cost

    tables, _ = drawn("six layers")
    for copy in ("a", "b"):
        figure_quality_cost.main(
            tables["arms"], 0.12, "a model", tmp_path / f"{copy}.svg", tmp_path / f"{copy}.png", 80
        )
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


def test_scattered_clusters_are_outlined_cell_by_cell():
    same = layer_distances._same(["0+2", "1"], 3)
    assert same.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert layer_fvu.runs((4, 5, 7)) == [(4, 5), (7, 7)]


def test_labels_are_spread_apart_in_order():
    places = training_curves.spread(np.array([0.0, 0.01, 0.02, 1.0]), 0.1)
    assert (np.diff(places) >= 0.1 - 1e-6).all()
    assert places[:3].mean() == pytest.approx(0.01, abs=1e-3)
    assert places[3] == 1
    assert list(np.argsort(training_curves.spread(np.array([3.0, 1.0, 2.0]), 5))) == [1, 2, 0]


def test_figures_and_tables_need_no_torch():
    code = "import sys, tables; from clustersae.figures import " + ", ".join(NAMES)
    code += "; sys.exit('torch' in sys.modules)"
    path = str(Path(style.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
