"""Memory that jobs ask for, against the forecast; and that all rules which need it ask."""

import json
import os
import re
from types import SimpleNamespace

import pytest
from configurations import load
from snakemake_project import REPOSITORY

from clustersae.cost import listing
from clustersae.cost.declared import Memory, memory_of_import
from clustersae.cost.forecast import forecast
from clustersae.experiment.inputs import Inputs
from clustersae.experiment.shape import Shape

CORPUS = {"source": "dataset", "dataset": "a/b", "n_ctx": 512}
#: Gemma-2-2B's, whose 4.4 billion weights (both embeddings counted) are 10 GB and more.
LARGE = Shape(26, 2304, 512, 256_000, 26 * 78_000_000)
SMALL = Shape(2, 8, 512, 10, 2 * 768)


@pytest.fixture
def models():
    given = {"m": {"repo": "some/model", "corpus": CORPUS}, "other": {"same_as": "m"}}
    tokens = {"train": 10**6, "validation": 10**5, "test": 10**5}
    return load({"models": given, "activations": {"tokens": tokens}})


def describe(folder, shape):
    file = folder / "m" / "model" / "description.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**shape._asdict(), "n_ctx": 8192, "family": "any"}))
    return file


def of(model):
    return SimpleNamespace(model=model)


def test_a_model_that_is_not_known_yet_gets_the_least_and_each_attempt_twice_as_much(
    models, tmp_path
):
    asked = Memory(Inputs(models, None), tmp_path).of("cache_activations", 4000)
    assert [asked(of("m"), attempt) for attempt in (1, 2, 3)] == [4000, 8000, 16_000]


@pytest.mark.parametrize("model", ["m", "other"])
def test_a_large_model_gets_what_the_forecast_says_and_a_quarter_more(models, tmp_path, model):
    describe(tmp_path, LARGE)
    asked = Memory(Inputs(models, None), tmp_path).of("cache_activations", 4000)
    needed = forecast(models[model], LARGE).memory["cache_activations"]
    assert needed > 12.8e9  # the weights of the blocks and of both embeddings, in float32
    assert needed * 1.25 <= asked(of(model), 1) * 2**20 < needed * 1.25 + 2**20
    assert asked(of(model), 3) == 4 * asked(of(model), 1)


def test_a_small_one_gets_the_least_and_another_in_its_place_is_noticed(models, tmp_path):
    file = describe(tmp_path, SMALL)
    asked = Memory(Inputs(models, None), tmp_path).of("cache_activations", 4000)
    assert asked(of("m"), 1) == 4000
    describe(tmp_path, LARGE)
    os.utime(file, ns=(1, 1))
    assert asked(of("m"), 1) > 12_800


def test_a_description_of_an_earlier_version_is_left_to_the_job(models, tmp_path):
    file = describe(tmp_path, LARGE)
    file.write_text(json.dumps({"n_layers": 26}))
    assert Memory(Inputs(models, None), tmp_path).of("cache_activations", 4000)(of("m"), 1) == 4000


def test_a_model_is_imported_with_room_for_its_files_in_float32(tmp_path):
    weights, quantised = tmp_path / "model.safetensors", tmp_path / "model.gguf"
    for file in (weights, quantised):
        with file.open("wb") as empty:
            empty.truncate(8 * 10**9)
    asked = memory_of_import(8000)
    sizes = [
        asked(of("m"), SimpleNamespace(files=files, trained=[]), 1)
        for files in ([], [str(weights)], [str(quantised)])
    ]
    assert sizes[0] == 8000
    assert sizes[1] == pytest.approx(1.25 * 16.5e9 / 2**20, abs=1)
    assert sizes[2] == pytest.approx(1.25 * 64.5e9 / 2**20, abs=1)


def test_every_rule_asks_for_what_its_jobs_need_and_no_rule_that_holds_a_model_is_forgotten(models):
    needed = forecast(models["m"], LARGE).memory
    told = {rule for rules in listing._REMEDIES.values() for rule in rules}
    assert needed.keys() == told
    asking = {}
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        text = file.read_text(encoding="utf-8")
        for name, body in re.findall(
            r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", text, re.M | re.S
        ):
            asking[name] = (re.findall(r'mem_mb=memory\.of\("(\w+)"', body), body)
    for name, (rules, body) in asking.items():
        assert rules == ([name] if name in needed else []), name
        holds = "model/model.safetensors" in body or "sae.safetensors" in body.split("output:")[0]
        assert name in needed or name == "import_model" or not holds, name
    # Variants of a rule ask as it does, and their jobs need no more.
    for name in needed.keys() - asking.keys():
        base = {"cache_window": "cache_activations", "evaluate_residual_basis": "evaluate_circuits"}
        assert needed[name] <= needed[base[name]]
