"""What a configuration comes to: defaults, overrides, models that are the same as others."""

import json
import re

import pytest
import yaml
from configurations import LANGUAGE_MODELS, SCHEMA, imported, load, shared, specialising, streaming
from snakemake_project import merged

from clustersae.experiment.shape import model_shape
from clustersae.runtime.errors import InputError


@pytest.mark.parametrize(
    "name", ["logs", "benchmarks", "language_models", "README.md", "report.html", "plan.log"]
)
def test_a_model_may_not_take_a_folder_with_another_use(config, name):
    config["models"] = {name: config["models"]["tiny"]}
    with pytest.raises(InputError, match=rf"results/{re.escape(name)} has another use"):
        load(config)


@pytest.mark.parametrize("wrong", [[], {}, {"models": {}}])
def test_a_configuration_names_at_least_one_model(wrong):
    with pytest.raises(InputError, match=r"^config: (the top level|models) (is|lacks) "):
        load(wrong)


@pytest.mark.parametrize("empty", [None, {}])
def test_an_empty_section_means_the_defaults(config, empty):
    for section in ("clustering", "evaluation"):
        without = {key: value for key, value in config.items() if key != section}
        assert load({**config, section: empty}) == load(without)
    model = config["models"]["tiny"]
    with_empty = {"models": {"tiny": {**model, "clustering": empty}}}
    assert load({**config, **with_empty}) == load(config)
    here = merged(config, imported("llama"))
    assert load({**here, "language_models": empty}) == load(here)


@pytest.mark.parametrize(
    "allowed",
    [
        shared(browser={"arms": []}),
        shared(browser={"arms": ["per-layer", "shared"]}),
        shared(2, browser={"arms": ["shared"]}),
        {"arms": {"shared": {"counts": []}, "auto": ["shared"]}, "browser": {"arms": ["shared"]}},
    ],
)
def test_the_page_wants_an_arm_that_it_can_show(config, allowed):
    config["sae"]["training_tokens"] = 40_000  # enough for pilots
    load(merged(config, allowed))


def test_a_model_overrides_what_it_names_and_nothing_else(config):
    other = merged(config["models"]["tiny"], {"sae": {"k": 3}, "activations": {"seed": 7}})
    models = load(merged(config, {"models": {"other": other}}))
    assert (models["tiny"]["sae"]["k"], models["other"]["sae"]["k"]) == (4, 3)
    assert models["other"]["activations"] == {**models["tiny"]["activations"], "seed": 7}
    assert models["other"]["sae"] == {**models["tiny"]["sae"], "k": 3}


def test_whole_numbers_written_with_a_dot_become_integers(config):
    settings = load(merged(config, {"sae": {"k": 4.0, "seeds": [1.0]}}))["tiny"]["sae"]
    assert json.dumps([settings["k"], settings["seeds"]]) == "[4, [1]]"
    arms = load(merged(config, shared(2.0)))["tiny"]["arms"]
    assert json.dumps(arms["shared"]["counts"]) == "[2]"
    changes = specialising({"from": 2.0, "budgets": [1.0]})
    changes["activations"] = {"layers": {"first": 0.0, "last": 2.0}}
    settings = load(merged(config, changes))["tiny"]
    assert json.dumps(settings["activations"]["layers"]) == '{"first": 0, "last": 2}'
    assert json.dumps(settings["arms"]["specialised"]) == '[{"from": 2, "budgets": [1.0]}]'


def test_equal_exposure_of_all_layers_is_the_baseline_and_needs_no_arm(config):
    load(merged(config, {"arms": {"equal_exposure": [3]}}))


def test_what_a_newcomer_gets_unasked(config):
    """A config that names a model and a text alone carries the findings."""
    for section in ("arms", "sae", "clustering", "activations"):
        config.pop(section, None)
    settings = load(config)["tiny"]
    assert settings["arms"]["per_layer"] == [1, 0.5]
    assert settings["arms"]["shared"] == {"counts": [1], "methods": ["complete"]}
    assert settings["arms"]["specialised"] == [{"from": 1, "budgets": [0.5]}]
    assert settings["arms"]["auto"] == ["shared"]
    assert settings["arms"]["margins"] == {"mean": 0.05, "worst": 0.1, "faithfulness": 0.05}
    assert len(settings["sae"]["learning_rate"]) > 1
    assert settings["sae"]["dead_after"] is None
    assert len(settings["sae"]["seeds"]) == 5


def test_shards_that_do_not_stay_may_be_read_by_one_seed_at_several_rates(config):
    allowed = streaming(
        sae={"learning_rate": [0.1, 0.2]}, arms={"auto": ["shared"], "pilot_fraction": 0.05}
    )
    assert not load(merged(config, allowed))["tiny"]["activations"]["keep"]
    # Where all shards are one window, all stay, and nothing is asked of anybody.
    everything = streaming(8, arms={"auto": ["shared"]}, sae={"seeds": [0, 1]})
    assert load(merged(config, everything))["tiny"]["activations"]["window"] == 8


def test_learning_rates_may_be_a_list_for_roots_and_for_specialised_saes(config):
    changes = {"sae": {"learning_rate": [0.01, 1], "specialise": {"learning_rate": [0.001]}}}
    sae = load(merged(config, changes))["tiny"]["sae"]
    assert sae["learning_rate"] == [0.01, 1]
    assert sae["specialise"] == {"shared_fraction": 0.5, "learning_rate": [0.001]}


def test_a_model_may_be_the_same_as_another(config):
    config["models"]["wide"] = {"same_as": "tiny", "sae": {"d_sae": 48}, "browser": {"arms": []}}
    config["models"]["wide"] |= {"exports": {"formats": ["saelens"]}}
    models = load(config)
    tiny, wide = models["tiny"], models["wide"]
    for key in ("path", "trained", "corpus", "activations", "clustering"):
        assert wide[key] == tiny[key]
    assert (tiny["sae"]["d_sae"], wide["sae"]["d_sae"]) == (32, 48)


@pytest.mark.parametrize(
    ("wide", "said"),
    [
        ({"same_as": "tine"}, "models.wide.same_as is tine, but must be a model .* right: tiny"),
        ({"same_as": "wide"}, "models.wide.same_as is wide, but must be a model"),
        ({"same_as": 3}, "models.wide.same_as is 3, but must be a model"),
        (
            {"same_as": "tiny", "corpus": {"source": "text"}},
            r"models.wide has corpus, which it takes from tiny \(same_as\): take out one",
        ),
        ({"sae": {"d_sae": 48}}, "models.wide does not say which model it is"),
    ],
)
def test_what_cannot_be_the_same_is_named(config, wide, said):
    config["models"]["wide"] = wide
    with pytest.raises(InputError, match=said):
        load(config)


@pytest.mark.parametrize("file", [SCHEMA, LANGUAGE_MODELS], ids=lambda file: file.name)
def test_every_key_of_a_schema_has_a_description_and_a_default_or_is_required(file):
    schema = yaml.safe_load(file.read_text())

    def check(where, entry):
        for key, each in entry.get("properties", {}).items():
            if "$ref" in each:
                continue
            if "properties" in each:
                check(f"{where}.{key}", each)
            else:
                assert "description" in each, f"{where}.{key}"
                assert "default" in each or key in entry["required"], f"{where}.{key}"

    for name, entry in schema["$defs"].items():
        assert entry["additionalProperties"] is False, name
        check(name, entry)


def test_the_shape_of_a_local_model_is_known_before_any_job(config):
    models = load(merged(config, imported("llama")))
    assert model_shape(models["tiny"]) == (4, 8)
