"""What the page of a model takes: its own figures and tables, its settings beside the defaults."""

from types import SimpleNamespace

import pytest

from clustersae.experiment.figures import Figures
from clustersae.experiment.page import Page, departing
from clustersae.experiment.questions import Questions

SCHEMA = """
$defs:
  model: {properties: {path: {default: null}, trained: {default: null}, corpus: {default: null}}}
  activations: {properties: {dtype: {default: float32}}}
  clustering: {properties: {}}
  sae: {properties: {k: {default: 32}, specialise: {properties: {rate: {default: 1}}}}}
  arms: {properties: {}}
  evaluation: {properties: {}}
  exports: {properties: {}}
  browser: {properties: {}}
"""
SECTIONS = {name: {} for name in ("clustering", "arms", "evaluation", "exports", "browser")}
MODELS = {
    "a": {
        **{"path": None, "trained": "toy", "corpus": None, "toy_english": True, **SECTIONS},
        **{"activations": {"dtype": "float32"}, "sae": {"k": 8, "specialise": {"rate": 1}}},
    },
    "b": {
        **{"path": "gpt2", "trained": None, "corpus": {"files": ["x"]}, **SECTIONS},
        "toy_english": False,
        **{"activations": {"dtype": "float32"}, "sae": {"k": 32, "specialise": {"rate": 2}}},
    },
}


@pytest.fixture
def page(tmp_path):
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    for name in ("one", "two"):
        (tmp_path / f"{name}.rst").write_text(f"{name} of {{model}}.")
    (tmp_path / "verdict.rst").write_text("What {{ snakemake.wildcards.model }} answers.")
    figures, questions = Figures(tmp_path, tmp_path), Questions(MODELS, tmp_path)
    tables = {"arms": "tables/arms.csv", "distances": "clusters/distances.csv"}
    figures.add("one", "module", "Quality", tables=tables)
    own = {"tables": {"t": "tables/tasks.csv"}, "wanted": lambda each: each["path"]}
    figures.add("two", "module", "Tasks", **own)
    questions.add("Quality", "module", ("arms", "cost"))
    trained = {"toy": {"steps": 10}, "other": {"steps": 20}}
    return Page(MODELS, figures, questions, tmp_path / "schema.yaml", trained)


def of(model):
    return SimpleNamespace(model=model)


def test_a_page_has_the_figures_and_tables_of_its_model(page):
    assert page.figures(of("a")) == ["results/a/figures/one.svg"]
    assert page.figures(of("b")) == [f"results/b/figures/{name}.svg" for name in ("one", "two")]
    tables = [f"results/a/tables/{name}.csv" for name in ("arms", "cost", "layers")]
    assert page.tables(of("a")) == tables  # what is no table of results is left out
    assert page.tables(of("b"))[-1] == "results/b/tables/tasks.csv"
    assert page.captions(of("a")) == {
        "verdict": ("Answer", "What {model} answers."),
        "one": ("Quality", "one of {model}."),
    }


def test_only_settings_that_are_not_the_defaults_were_asked_for(page):
    found = page.settings(of("b"))
    assert found["asked"] == {
        "models": {
            "b": {
                **{"path": "gpt2", "corpus": {"files": ["x"]}},
                "sae": {"specialise": {"rate": 2}},
            }
        }
    }
    assert found["complete"]["models"]["b"]["sae"] == {"k": 32, "specialise": {"rate": 2}}
    assert "toy_english" not in found["complete"]["models"]["b"]  # nobody's setting


def test_the_training_of_its_language_model_belongs_to_the_settings(page):
    found = page.settings(of("a"))
    for settings in found.values():
        assert settings["language_models"] == {"toy": {"steps": 10}}
    assert found["asked"]["models"] == {"a": {"trained": "toy", "sae": {"k": 8}}}


def test_a_list_departs_as_a_whole():
    assert departing({"k": [1, 2], "s": {"x": 1}}, {"k": [1], "s": {"x": 1}}) == {"k": [1, 2]}
