"""What is changed in Snakemake's scheduler and planning, in the version that is installed."""

import base64
import os
import re
import subprocess
import sys

from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake_project import REPOSITORY

N_JOBS = 10
#: What a Snakefile includes: nothing, or the changes.
WAYS = {
    "as-it-is": "",
    "changed": f'include: "{REPOSITORY / "workflow" / "rules" / "snakemake.smk"}"',
}
SNAKEFILE = """
from snakemake.scheduling.job_scheduler import JobScheduler

{included}

passes = []
select = JobScheduler.job_selector

def counted(self, jobs):
    passes.append(len(jobs))
    return select(self, jobs)

JobScheduler.job_selector = counted

rule all:
    input:
        expand("{{n}}.txt", n=range({n_jobs}))

rule wait:
    output:
        "{{n}}.txt"
    shell:
        "sleep 0.5; touch {{output}}"

onsuccess:
    print(len(passes), "passes")
"""


def run(folder, snakefile, included, cores=2):
    folder.mkdir(exist_ok=True)
    (folder / "Snakefile").write_text(snakefile.format(included=included, n_jobs=N_JOBS))
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", str(cores)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def passes(folder, included):
    """How often the scheduler looked for jobs to start, in a run of one job after another."""
    result = run(folder, SNAKEFILE, included, cores=1)
    assert result.returncode == 0, result.stdout
    return int(re.search(r"(\d+) passes", result.stdout)[1])


def test_the_scheduler_looks_for_jobs_when_one_has_ended_and_not_all_the_time(tmp_path):
    assert hasattr(JobScheduler, "_schedule_reevalutation"), "adapt workflow/rules/snakemake.smk"
    as_it_is, changed = (passes(tmp_path / name, included) for name, included in WAYS.items())
    assert changed <= 2 * N_JOBS < as_it_is


#: Ten jobs that read the same ten files.
SHARED = """
from snakemake.dag import DAG

{included}

searches = []
search = DAG.file2jobs

async def counted(self, targetfile, **others):
    searches.append(targetfile)
    return await search(self, targetfile, **others)

DAG.file2jobs = counted

rule all:
    input:
        expand("read-{{n}}.txt", n=range({n_jobs}))

rule read:
    input:
        expand("made-{{m}}.txt", m=range({n_jobs}))
    output:
        "read-{{n}}.txt"
    shell:
        "cat {{input}} > {{output}}"

rule make:
    output:
        "made-{{m}}.txt"
    shell:
        "echo {{wildcards.m}} > {{output}}"

onsuccess:
    print(len(searches), "searches")
"""
CYCLE = """
{included}

rule first:
    input: "b.txt"
    output: "a.txt"
    shell: "cp {{input}} {{output}}"

rule second:
    input: "a.txt"
    output: "b.txt"
    shell: "cp {{input}} {{output}}"
"""


def test_a_file_that_many_jobs_read_is_looked_for_once(tmp_path):
    found = {}
    for name, included in WAYS.items():
        result = run(tmp_path / name, SHARED, included)
        assert result.returncode == 0, result.stdout
        found[name] = int(re.search(r"(\d+) searches", result.stdout)[1])
        assert (tmp_path / name / "read-9.txt").read_text().split() == [*"0123456789"]
        assert re.search(r"^total +21$", result.stdout, re.MULTILINE)
    assert found == {"as-it-is": 110, "changed": 20}


def test_a_cycle_is_still_found(tmp_path):
    result = run(tmp_path / "cycle", CYCLE, WAYS["changed"])
    assert result.returncode == 1
    assert "Cyclic dependency on rule" in result.stdout


#: The second checkpoint is planned because of the first, and not run if that makes the same.
CHECKPOINTS = """
{included}

rule all:
    input: "answer.txt", "last.txt"

checkpoint first:
    input: "source.txt"
    output: "first.txt"
    shell: "head -n 1 {{input}} > {{output}}"

checkpoint second:
    input: "first.txt"
    output: "second.txt"
    shell: "cp {{input}} {{output}}"

def part(wildcards):
    with open(checkpoints.second.get().output[0]) as file:
        return f"part-{{file.read().strip()}}.txt"

rule part:
    output: "part-{{n}}.txt"
    shell: "echo part {{wildcards.n}} > {{output}}"

rule answer:
    input: part
    output: "answer.txt"
    shell: "cp {{input}} {{output}}"

rule middle:
    input: part
    output: "middle.txt"
    shell: "cp {{input}} {{output}}"

rule last:
    input: "middle.txt"
    output: "last.txt"
    shell: "cp {{input}} {{output}}"
"""


def begun(folder, included):
    """After a first run of CHECKPOINTS."""
    folder.mkdir()
    (folder / "source.txt").write_text("1\n")
    assert run(folder, CHECKPOINTS, included).returncode == 0
    return folder


def test_a_checkpoint_that_need_not_run_after_all_is_told_to_its_readers(tmp_path):
    unknown, in_vain = {}, {}
    for name, included in WAYS.items():
        folder = begun(tmp_path / name, included)
        (folder / "answer.txt").unlink()
        (folder / "source.txt").write_text("1\nthe first line is the same\n")
        result = run(folder, CHECKPOINTS, included)
        unknown[name] = "input: <TBD>" in result.stdout
        in_vain[name] = "rule last" in result.stdout
    expected = {"as-it-is": True, "changed": False}
    assert unknown == in_vain == expected, "adapt workflow/rules/snakemake.smk"
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "changed" / "answer.txt").read_text() == "part 1\n"


def test_a_job_behind_a_checkpoint_that_was_killed_before_its_records_runs_again(tmp_path):
    again = {}
    for name, included in WAYS.items():
        folder = begun(tmp_path / name, included)
        marker = base64.urlsafe_b64encode(b"part-1.txt").decode()
        (folder / ".snakemake" / "incomplete" / marker).touch()
        result = run(folder, CHECKPOINTS, included)
        assert result.returncode == 0, result.stdout
        again[name] = re.findall(r"^localrule (\w+):", result.stdout, re.MULTILINE)
    assert again["as-it-is"] == [], "adapt workflow/rules/snakemake.smk"
    assert again["changed"][0] == "part"
    assert "Nothing to be done" in run(folder, CHECKPOINTS, included).stdout


#: What Snakemake knows of files and of functions, asked before its ways are changed and after.
LOOKED_UP = """
from pathlib import Path

import snakemake.common, snakemake.dag, snakemake.io, snakemake.jobs, snakemake.rules

FLAGS = ["temp", "ancient", "directory", "protected", "storage_object", "nothing"]
FILES = [
    "plain.txt", temp("a.txt"), ancient("b.txt"), directory("c"), protected("d.txt"),
    temp(lambda wildcards: "e.txt"), lambda wildcards: "f.txt", Path("g.txt"), None, 7,
    snakemake.io.flag("h.txt", "temp", False), snakemake.io.IOFile(temp("i.txt")),
    snakemake.io.IOFile("j.txt"), ["k.txt"],
]
FUNCTIONS = [
    lambda wildcards: 1, lambda wildcards, input, attempt=1: 2, len, Path.exists,
    lambda *a, groupid, **others: 3, print,
]

def asked():
    flags = [
        part.is_flagged(file, flag)
        for part in (snakemake.dag, snakemake.io, snakemake.rules)
        for file in FILES
        for flag in FLAGS
    ]
    parameters = [
        str(part.get_function_params(function))
        for part in (snakemake.common, snakemake.rules)
        for function in FUNCTIONS * 2
    ]
    return flags, parameters, [file.is_temp for file in FILES if hasattr(file, "is_temp")]

before = asked()
{included}
after = asked()
print("same", before == after, sum(before[0]), snakemake.io.is_flagged.__module__)

rule all:
"""


def test_flags_and_parameters_are_what_snakemake_says_they_are(tmp_path):
    for name, included in WAYS.items():
        result = run(tmp_path / name, LOOKED_UP, included)
        said = re.search(r"^same (\w+) (\d+) (\S+)$", result.stdout, re.MULTILINE)
        assert said, result.stdout
        # Six flags, asked in three places.
        assert said.groups()[:2] == ("True", "18")
        assert (said[3] == "snakemake.io") == (name == "as-it-is"), said[3]
