"""The preset of a published model, whole, with everything in it made small."""

import csv
import json
import random

import pytest
import yaml
from snakemake_project import REPOSITORY, Project, merged, words

pytestmark = pytest.mark.long

NAME = "enwik8"
PRESET = REPOSITORY / "workflow" / "presets" / f"{NAME}.yaml"
SAES = {
    "arms": {
        **{"per_layer": [1, 0.5], "narrower": [], "shared": {"counts": [1, 2]}},
        **{"specialised": [{"from": 1, "budgets": [0.5]}], "controls": {"counts": []}},
    },
    "sae": {
        **{"k": 4, "training_tokens": 4000, "batch_size": 256, "dead_after": 1000},
        **{"learning_rate": 0.003, "seeds": [0]},
    },
    "evaluation": {
        "splice_tokens": 300,
        "features": {"tokens": 300, "min_firings": 3, "contexts": 2, "context_tokens": 6},
    },
}
LANGUAGE_MODEL = {
    "corpus": {"path": "text.txt", "checksum": "any", "n_ctx": 64},
    "architecture": {"n_layers": 3, "d_model": 16, "n_heads": 2},
    "training": {
        **{"steps": 6, "batch_rows": 4, "warmup_steps": 2, "log_every": 2},
        **{"evaluate_every": 3, "evaluate_batches": 2, "other_seeds": [1338]},
    },
}
ACTIVATIONS = {"tokens": {"train": 4000, "validation": 400, "test": 400}, "shard_tokens": 4000}
SMALL = {
    "language_models": {NAME: LANGUAGE_MODEL},
    "models": {NAME: {"activations": ACTIVATIONS, **SAES}, f"{NAME}-16x": SAES},
}


def text() -> str:
    """Every byte that can be printed, and words between brackets and quotes."""
    signs = [chr(code) for code in range(32, 127)]
    random.Random(0).shuffle(signs)
    return f"{words(60_000)} [[link]] {{{{page}}}} \"quote\" 'one' {''.join(signs)}\n" * 2


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.create(tmp_path_factory.mktemp(NAME) / "project", PRESET)
    (project.folder / "text.txt").write_text(text())
    given = merged(yaml.safe_load(PRESET.read_text()), SMALL)
    (project.folder / "config.yaml").write_text(yaml.safe_dump(given))
    project.run()
    return project


def table(project, model, name):
    with (project.folder / f"results/{model}/tables/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_saes_of_both_widths_are_trained_on_the_same_activations(project):
    results = project.folder / "results"
    for model, expansion in ((NAME, 8), (f"{NAME}-16x", 16)):
        saes = list((results / model / "saes").glob("*/*/seed-0/cfg.json"))
        assert {json.loads(path.read_text())["d_sae"] for path in saes} == {16 * expansion}
        roles = {row["role"] for row in table(project, model, "arms")}
        assert roles >= {"baseline", "main", "specialised"}
    assert [path.name for path in results.glob("*/activations")] == ["activations"]


def test_every_task_can_be_written_in_bytes_and_says_that_the_model_cannot_do_it(project):
    tasks = {row["task"]: row for row in table(project, NAME, "tasks")}
    assert {*tasks} == {
        *("agreement_simple", "greater_than", "indirect_object", "induction"),
        *("closing_bracket", "closing_quote"),
    }
    for task in tasks.values():
        assert int(task["n_usable"]) > 0
        assert task["usable"] == "False"
        assert "the model cannot do this task" in task["reason"]
    verdict = (project.folder / f"results/{NAME}/tables/verdict.txt").read_text(encoding="utf-8")
    assert "the model can do 0 of 6 tasks" in verdict


def test_all_seeds_stand_beside_the_published_run(project):
    tables = project.folder / f"results/language_models/{NAME}/tables"
    (form,) = json.loads((tables / "seeds.json").read_text()).values()
    assert all(len(values) == 2 for values in form["final_info_dict"].values())
    beside = (tables / "seeds.txt").read_text(encoding="utf-8")
    assert "enwik8 (on another text): 2 seeds" in beside
    assert "2372" in beside  # seconds of the published training
    assert "1.0055" not in beside  # losses of another text compare with nothing
