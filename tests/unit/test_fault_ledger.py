"""The injector of faults sees what it is there to see: jobs made again, and files not noticed."""

import random
from types import SimpleNamespace

import pytest
from faults import told
from faults.experiment import differences
from faults.kinds import damaged
from faults.ledger import Ledger
from faults.watching import Job, Started

FIRST = Job("first", 1, (), ("a", "b"), "")
SECOND = Job("second", 2, ("a",), ("c",), "")
PRINTED = """
[Sat Nov 28 10:00:00 2026]
localrule first:
    output: a, b
    log: results/logs/first.log
    jobid: 1
    reason: Missing output files: a
    resources: tmpdir=/tmp
[Sat Nov 28 10:00:01 2026]
Finished jobid: 1 (Rule: first)
checkpoint second:
    input: a
    output: c
    jobid: 2
    reason: Input files updated by another job: a
localrule all:
    input: c
    jobid: 0
rule third:
    input: a
"""


@pytest.fixture
def ledger():
    """Both jobs have ended well."""
    ledger = Ledger()
    for job in (FIRST, SECOND):
        assert not ledger.start(job)
        ledger.end(job)
    return ledger


def test_a_job_that_starts_again_without_a_cause_is_told(ledger):
    assert ledger.start(SECOND)
    assert ledger.redone == [SECOND]


def test_it_may_after_its_output_was_deleted_and_then_no_more(ledger):
    ledger.delete(["c"])
    assert not ledger.start(SECOND)
    ledger.end(SECOND)
    assert ledger.start(SECOND)


def test_it_may_after_what_it_reads_was_made_again(ledger):
    ledger.delete(["b"])
    assert not ledger.start(FIRST)
    ledger.end(FIRST)
    assert not ledger.start(SECOND)


def test_it_may_while_what_it_reads_is_damaged(ledger):
    ledger.changed.add("a")
    assert not ledger.start(SECOND)


def test_a_job_that_has_not_ended_may_start_again():
    ledger = Ledger()
    assert not ledger.start(FIRST)
    assert not ledger.start(FIRST)
    assert ledger.made() == []


def test_what_an_interrupted_second_making_has_deleted_need_not_be_there(ledger):
    assert ledger.unneeded() == set()
    ledger.delete(["b"])
    ledger.start(FIRST)
    assert ledger.unneeded() == {"a", "b"}
    ledger.end(FIRST)
    assert ledger.unneeded() == set()


def test_of_the_rest_every_file_is_asked_for(tmp_path):
    for run in ("one", "other"):
        (tmp_path / run / "results" / "model").mkdir(parents=True)
        for name in ("a", "b", "c"):
            (tmp_path / run / "results" / "model" / name).write_text("same")

    def said(*unneeded):
        return differences(tmp_path / "one", tmp_path / "other", tmp_path / "scratch", unneeded)

    assert said() == []
    (tmp_path / "other" / "results" / "model" / "a").unlink()
    assert said() == ["model/a is only in one"]
    assert said("results/model/a") == []
    (tmp_path / "other" / "results" / "model" / "checkpoint.safetensors").write_text("half")
    assert said("results/model/a") == []
    assert said() == ["model/a is only in one", "model/checkpoint.safetensors is only in one"]
    (tmp_path / "other" / "results" / "model" / "checkpoint.safetensors").unlink()
    for name in ("b", "c"):
        (tmp_path / "other" / "results" / "model" / name).unlink()
    (tmp_path / "other" / "results" / "model").rmdir()
    assert said("results/model/a", "results/model/b") == [
        "model is only in one",
        "model/c is only in one",
    ]
    assert said("results/model/a", "results/model/b", "results/model/c") == []


def test_jobs_are_read_from_what_snakemake_prints(tmp_path):
    file = tmp_path / "printed.txt"
    file.write_text(PRINTED)
    printed = SimpleNamespace(text=file.read_text)
    printed.events = lambda: Started.events(printed)
    first, second = Started.jobs(printed)
    assert (first.rule, first.number, first.inputs, first.outputs) == ("first", 1, (), ("a", "b"))
    assert (second.rule, second.inputs, second.outputs) == ("second", ("a",), ("c",))
    assert second.reason == "Input files updated by another job: a"
    assert Started.finished(printed) == [1]
    assert Started.events(printed) == [first, 1, second]


@pytest.mark.parametrize("seed", range(20))
def test_damage_changes_a_file(tmp_path, seed):
    file = tmp_path / "x"
    file.write_bytes(bytes(range(50)))
    _, held = damaged(file, random.Random(seed))
    assert held == bytes(range(50)) != file.read_bytes()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("error: results/a/x.csv is damaged: it. Delete it and run again.", "results/a/x.csv"),
        ("error: results/a/x.csv is not of an SAE. Delete the folder and run again.", "results/a"),
        ("error: results/a: they belong to others. Delete the folder and run again.", "results/a"),
        ("error: results/a/y.csv is damaged: it. Delete it and run again.", None),  # is not there
        ("error: results/a/x.csv is damaged.", None),
    ],
)
def test_what_a_message_asks_to_delete(tmp_path, text, name):
    (tmp_path / "results" / "a").mkdir(parents=True)
    (tmp_path / "results" / "a" / "x.csv").touch()
    assert told.to_delete(f"Building DAG\n{text}\nError in rule x:\n", tmp_path) == name


def test_what_a_message_asks_to_run():
    assert told.command("Error: Directory cannot be locked. Please") == ("--unlock",)
    assert told.command("rerun your command with the --rerun-incomplete flag") == told.INCOMPLETE
    assert told.command("Error in rule x:") is None


def test_the_first_thing_that_a_user_reads(tmp_path):
    text = f"Error in rule x:\nerror: {tmp_path}/y is wrong.\nWorkflowError:\n"
    assert told.sentence(text, tmp_path) == "./y is wrong."
    assert told.sentence("Error in rule x:\n", tmp_path) == "Error in rule x"
    assert told.sentence("Finished", tmp_path) == ""
