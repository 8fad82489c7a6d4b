"""Which files are asked for beside SAEs: circuits of tasks, the feature browser."""

import os

from test_inputs import MODEL, Checkpoints, inputs, wildcards  # noqa: F401 (a fixture)

from clustersae.experiment.inputs import Inputs
from clustersae.experiment.requested import Requested


def test_only_tasks_that_the_model_can_do_get_circuits(inputs):  # noqa: F811
    requested = Requested(inputs)
    assert requested.task_records(wildcards()) == [
        "results/m/tasks/induction/task.json",
        "results/m/tasks/mine/task.json",
    ]
    assert requested.task_file(wildcards(task="mine")) == ["mine.jsonl"]
    assert requested.task_file(wildcards(task="induction")) == []
    files = requested.of_circuits("x")(wildcards())
    assert all(file.startswith("results/m/evaluation/circuits/mine/") for file in files)
    assert files[-1].endswith("/mine/base/residual-basis/x")
    assert requested.judge(wildcards()) == []


def test_a_task_is_known_by_what_its_file_holds(inputs, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    file, requested = tmp_path / "mine.jsonl", Requested(inputs)
    file.write_text("one")
    before = requested.task_contents(wildcards(task="mine"))
    os.utime(file)
    assert requested.task_contents(wildcards(task="mine")) == before
    file.write_text("two")
    os.utime(file, (10_000, 10_000))
    assert requested.task_contents(wildcards(task="mine")) != before
    assert requested.task_contents(wildcards(task="induction")) is None


def test_a_model_without_arms_to_show_has_no_browser(tmp_path):
    browsers = {"m": MODEL["browser"], "silent": {"arms": [], "neuronpedia": True},
                "both": {"arms": ["shared"], "neuronpedia": True}}  # fmt: skip
    models = {name: {**MODEL, "browser": browser} for name, browser in browsers.items()}
    assert Requested(Inputs(models, Checkpoints(tmp_path))).browsers(wildcards()) == [
        "results/m/browser/index.html",
        "results/both/browser/index.html",
        "results/both/neuronpedia/index.json",
    ]
