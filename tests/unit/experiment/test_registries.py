"""Which figures and questions there are, and what the rules that draw and answer take for them."""

from types import SimpleNamespace

import pytest

from clustersae.experiment.digest import script_digest
from clustersae.experiment.figures import Figures
from clustersae.experiment.questions import Questions


@pytest.fixture
def figures(tmp_path):
    (tmp_path / "draw.py").write_text("import importlib\n")
    for name in ("one", "two"):
        (tmp_path / f"package_{name}.py").write_text(f"NAME = '{name}'\n")
    (tmp_path / "two.rst").write_text("Two of {model}.")
    found = Figures(tmp_path, tmp_path)
    found.add("one", "package_one", "Quality", tables={"arms": "tables/arms.csv"})
    found.add(
        "two",
        "package_two",
        "Circuits",
        tables={"tasks": "tables/tasks.csv"},
        options={"errors": lambda wildcards: f"errors of {wildcards.model}"},
        wanted=lambda settings: settings["tasks"],
    )
    return found


def wildcards(figure):
    return SimpleNamespace(model="m", figure=figure)


def test_only_figures_that_a_model_has_are_wanted(figures):
    assert figures.pattern == "one|two"
    both = [f"results/{m}/figures/one.{f}" for m in "ab" for f in ("svg", "png", "pdf")]
    wanted = figures.wanted({"a": {"tasks": False}, "b": {"tasks": True}})
    two = [f"results/b/figures/two.{f}" for f in ("svg", "png", "pdf")]
    assert wanted == [*both, *two]


def test_a_figure_reads_its_own_tables_with_its_own_options(figures):
    assert figures.tables(wildcards("one")) == {"arms": "results/m/tables/arms.csv"}
    assert figures.options(wildcards("one")) == {}
    assert figures.options(wildcards("two")) == {"errors": "errors of m"}
    assert figures.module(wildcards("two")) == "package_two"
    assert figures.category(wildcards("two")) == "Circuits"
    assert figures.caption(wildcards("two"), input=None) == "Two of m."


def test_editing_one_figure_changes_no_digest_of_another(figures, tmp_path):
    before = {name: figures.code(wildcards(name)) for name in ("one", "two")}
    assert len({*before.values(), script_digest("draw.py", tmp_path)}) == 3
    (tmp_path / "package_three.py").write_text("")
    edited = Figures(tmp_path, tmp_path)
    edited.add("one", "package_one", "Quality", tables={})
    assert edited.code(wildcards("one")) == before["one"]
    (tmp_path / "package_other.py").write_text("NAME = 'one'\n")
    edited.add("one", "package_other", "Quality", tables={})
    assert edited.code(wildcards("one")) != before["one"]


def test_a_question_that_a_model_is_not_asked_brings_no_table_and_no_text(tmp_path):
    for name in ("verdict", "quality_text", "circuits_text"):
        (tmp_path / f"{name}.py").write_text(f"NAME = '{name}'\n")
    models = {"a": {"tasks": []}, "b": {"tasks": ["induction"]}}
    questions = Questions(models, tmp_path)
    questions.add("Quality", "quality_text", ("arms", "cost"))
    questions.add(
        *("Circuits", "circuits_text", ("arms", "tasks")),
        options={"errors": lambda wildcards: f"errors of {wildcards.model}"},
        beside="distance",
        wanted=lambda settings: settings["tasks"],
    )
    without, asked = SimpleNamespace(model="a"), SimpleNamespace(model="b")
    assert questions.modules(without) == {"Quality": "quality_text"}
    assert questions.tables(without) == ["results/a/tables/arms.csv", "results/a/tables/cost.csv"]
    names = ("arms", "cost", "tasks")
    assert questions.tables(asked) == [f"results/b/tables/{name}.csv" for name in names]
    assert questions.code(without) != questions.code(asked)
    assert (questions.options(without), questions.beside(without)) == ({}, [])
    assert questions.options(asked) == {"errors": "errors of b"}
    assert questions.beside(asked) == ["results/b/tables/distance.csv"]
