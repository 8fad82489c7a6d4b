"""Names of tasks are checked before any job, and are those of the tasks that there are."""

import pytest

from clustersae.circuits.tasks.families import FAMILIES
from clustersae.circuits.tasks.toy import TOY_TASKS
from clustersae.experiment.tasks import FAMILY_NAMES, TOY_NAMES, check_tasks, task_name
from clustersae.runtime.errors import InputError


def test_every_generator_has_its_name():
    assert tuple(FAMILIES) == FAMILY_NAMES
    assert tuple(TOY_TASKS) == TOY_NAMES


@pytest.mark.parametrize("task", FAMILY_NAMES)
def test_a_generated_task_is_called_by_its_name(task):
    check_tasks("evaluation.tasks", [task], toy=False)
    assert task_name(task) == task


def test_a_file_is_called_by_its_stem(tmp_path):
    file = tmp_path / "my-prompts.v2.jsonl"
    file.touch()
    check_tasks("evaluation.tasks", [str(file)], toy=False)
    assert task_name(str(file)) == "my-prompts.v2"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["inductoin"], "there is no task inductoin. Name one of indirect_object"),
        (["toy_agreement"], "toy_agreement is for models of toy-english"),
        (["absent.jsonl"], "absent.jsonl does not exist or is no file"),
        (["my prompts.jsonl"], "has a name with blanks"),
        (["all.csv"], "all.csv has the name that tables give to all tasks together: rename it"),
        (["a/p.jsonl", "b/p.csv"], "a/p.jsonl and b/p.csv would have the same folder"),
    ],
)
def test_a_wrong_task_is_named(tasks, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("my prompts.jsonl", "all.csv", "a/p.jsonl", "b/p.csv"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=message):
        check_tasks("evaluation.tasks", tasks, toy=False)
