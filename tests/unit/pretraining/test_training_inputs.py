"""What the rules that train language models read, asked as Snakemake asks: by wildcards."""

from types import SimpleNamespace

import pytest
import yaml
from configurations import language_models
from snakemake_project import REPOSITORY, TINY

from clustersae.pretraining.inputs import ACROSS, Trainings


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    config = yaml.safe_load(TINY.read_text())
    for name in ("shakespeare_char", "enwik8"):
        preset = REPOSITORY / "workflow" / "presets" / f"{name}.yaml"
        config["language_models"] |= yaml.safe_load(preset.read_text())["language_models"]
    own = config["language_models"]["enwik8"]["corpus"] | {"path": "text.txt", "checksum": "any"}
    config["language_models"]["enwik8"]["corpus"] = own
    return Trainings(language_models(config))


def wildcards(model, **given):
    return SimpleNamespace(model=model, **given)


def test_patterns_are_of_whole_names(inputs):
    models = {**inputs.models, "gpt.2": {"corpus": {"source": "toy-english"}}}
    inputs = Trainings(models)
    assert inputs.pattern(toy_english=True) == r"gpt\.2"
    assert inputs.pattern(toy_english=False) == "tiny|shakespeare_char|enwik8"
    assert Trainings({}).pattern() == "(?!)"
    assert inputs.is_toy_english(wildcards("gpt.2"))


def test_records_are_made_of_the_models_that_ask_for_them(inputs):
    assert inputs.recorded == ["shakespeare_char", "enwik8"]
    assert {*ACROSS, "results/language_models/enwik8/tables/seeds.json"} < {*inputs.wanted}
    assert inputs.texts[0] == "results/language_models/shakespeare_char/tables/seeds.txt"


def test_a_record_is_about_all_seeds(inputs):
    model = wildcards("shakespeare_char")
    assert inputs.seeds(model) == [1337, 1338, 1339]
    folder = "results/language_models/shakespeare_char"
    assert inputs.of_seeds("training.json")(model) == [
        f"{folder}/{place}/training.json" for place in ("model", "seeds/1338", "seeds/1339")
    ]
    assert inputs.training(model)["seed"] == 1337
    other = inputs.training(wildcards("shakespeare_char", seed="1339"))
    assert other == {**inputs.training(model), "seed": 1339}
    assert not other.keys() & {"other_seeds", "record", "published"}


def test_another_text_is_never_called_the_published_one(inputs):
    same, other, own = map(wildcards, ("shakespeare_char", "enwik8", "tiny"))
    assert inputs.recorded_as(same) == inputs.published_curve(same) == "shakespeare_char"
    assert inputs.recorded_as(other) == "enwik8 (on another text)"
    assert inputs.published_curve(other) is None
    assert (inputs.recorded_as(own), inputs.published_curve(own)) == ("tiny", None)


def test_texts_that_are_here_are_inputs(inputs):
    files = {name: inputs.corpus_files(wildcards(name)) for name in inputs.models}
    assert files == {"tiny": ["text.txt"], "shakespeare_char": [], "enwik8": ["text.txt"]}


def test_the_cache_of_downloads_is_an_absolute_path(inputs, monkeypatch, tmp_path):
    monkeypatch.setenv("CLUSTERSAE_DATA", "texts")
    assert inputs.cache(wildcards("enwik8"), None) == str(tmp_path / "texts")
