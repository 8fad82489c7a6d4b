"""Sections on the command line are what they would be in a file."""

import pytest
import yaml
from configurations import LANGUAGE_MODELS, SCHEMA
from snakemake.cli import parse_config
from snakemake_project import TINY, merged

from clustersae.experiment import config as configuration
from clustersae.experiment.schema import read, typed
from clustersae.pretraining import config as pretraining


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    (tmp_path / "prompts.jsonl").touch()
    return yaml.safe_load(TINY.read_text())


def loaded(config, command_line=None):
    section = config["language_models"]
    trained = pretraining.load(section, LANGUAGE_MODELS, command_line=command_line)
    known = pretraining.known(trained)
    return trained, configuration.load(config, SCHEMA, known, command_line=command_line)


SPOKEN = [
    "sae={k: 3, learning_rate: [1e-3, 0.01], d_sae: null, expansion_factor: 2, seeds: [0, 7]}",
    "activations={max_norm_multiple: 5.5, layers: {first: 1, step: 1}, dtype: bfloat16}",
    "arms={specialised: [{from: 1, budgets: [0.5]}], auto: [], margins: {mean: 0.1}}",
    "browser={neuronpedia: true, arms: [per-layer]}",
    "models={tiny: {sae: {k: 2}, device_map: null, repo: null}}",
    "language_models={tiny: {training: {steps: 7, record: false, published: null},"
    " corpus: {fractions: {test: 0.2}, separator: null}}}",
]


def test_they_read_as_they_would_in_a_file(config):
    spoken = parse_config(SPOKEN)
    assert spoken["sae"]["k"] == "3"  # as Snakemake has it
    as_in_a_file = {}
    for each in SPOKEN:
        key, _, value = each.partition("=")
        as_in_a_file[key] = yaml.safe_load(value.replace("1e-3", "0.001"))
    assert loaded(merged(config, spoken), spoken) == loaded(merged(config, as_in_a_file))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("4", "models.m.corpus.separator"),  # text is meant
        ("true", "models.m.corpus.field"),
        ("four", "sae.k"),
        ("[", "sae.k"),
        ("true", "sae.k"),
        ("4", "browser.neuronpedia"),
        ("null", "sae.k"),
        ("null", "sae.architecture"),
        ("2020-01-01", "activations.seed"),
    ],
)
def test_what_is_no_number_or_should_be_none_stays_text(text, key):
    rules = read(SCHEMA)
    given = text
    for part in reversed(key.split(".")):
        given = {part: given}
    assert typed(given, rules, rules) == given


@pytest.mark.parametrize("text", ["\n\n", "---", "###", "# 1", ""])
def test_text_that_yaml_takes_for_nothing_stays_text(text):
    assert typed({"a": text}, {"properties": {"a": {"type": ["string", "null"]}}}, {}) == {
        "a": text
    }


@pytest.mark.parametrize("text", ["null", "~"])
def test_null_may_be_spelled(text):
    assert typed({"a": text}, {"properties": {"a": {"type": ["number", "null"]}}}, {}) == {
        "a": None
    }
