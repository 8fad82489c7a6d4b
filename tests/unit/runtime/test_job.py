"""A job starts from whole inputs and a clean place, and does not outlive its Snakemake."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import clustersae
from clustersae.runtime import job, log
from clustersae.runtime.environment import SNAKEMAKE_PROCESS, namespace, prepare
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json

LIBRARY = str(Path(clustersae.__file__).parents[1])


@pytest.fixture
def start(tmp_path, monkeypatch):
    """`job.start` in a folder where Snakemake runs, without the log."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SNAKEMAKE_PROCESS, raising=False)
    logs = []
    monkeypatch.setattr(log, "to", logs.append)

    def start(inputs, outputs):
        job.start(SimpleNamespace(input=inputs, output=outputs, log=["x.log"]))
        return logs

    return start


def test_a_damaged_input_ends_a_job_before_it_begins(start):
    write_json("a.json", 1)
    assert start(["a.json"], ["b.json"]) == ["x.log"]
    Path("a.json").write_text("2")
    with pytest.raises(InputError, match=r"^a\.json is damaged"):
        start(["a.json"], ["b.json"])


def test_what_a_killed_writer_of_an_output_has_left_is_removed_and_nothing_else(start):
    mine, others = Path("results/.b.csv.a1b2c3d4"), Path("results/.b.csv.gz.a1b2c3d4")
    for folder in (mine, others):
        folder.mkdir(parents=True)
        (folder / "new.csv").touch()
    start([], ["results/b.csv"])
    assert not mine.exists()
    assert (others / "new.csv").exists()


def test_jobs_are_told_which_process_has_started_them(monkeypatch):
    monkeypatch.setenv(SNAKEMAKE_PROCESS, "1")  # of a Snakemake that runs this one as a job
    monkeypatch.setenv("PYTHONPATH", "")
    prepare("scripts")
    assert os.environ[SNAKEMAKE_PROCESS] == f"{os.getpid()} {namespace()}"


CHILD = """
import time
from types import SimpleNamespace
from clustersae.runtime import job
job.start(SimpleNamespace(input=[], output=[], log=["x.log"]))
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def snakemake():
    """A process that stands for it."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def child(tmp_path):
    """Start a job of the Snakemake that the environment variable names."""
    children = []

    def child(told):
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", CHILD],
                env={**os.environ, "PYTHONPATH": LIBRARY, SNAKEMAKE_PROCESS: told},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return children[0]

    yield child
    for each in children:
        each.kill()
        each.communicate()


def test_a_job_ends_after_its_snakemake_was_killed(snakemake, child, tmp_path):
    job = child(f"{snakemake.pid} {namespace()}")
    assert job.stdout.readline() == "started\n"
    assert job.poll() is None
    snakemake.kill()
    snakemake.wait()  # reaped: the process is gone
    assert job.wait(60) == -signal.SIGTERM
    assert "has ended: so does this job" in (tmp_path / "x.log").read_text()


def test_a_job_ends_whose_snakemake_was_killed_before_it_began(snakemake, child):
    snakemake.kill()
    snakemake.wait()
    assert child(f"{snakemake.pid} {namespace()}").wait(60) == -signal.SIGTERM


def test_the_number_of_a_process_elsewhere_says_nothing(snakemake, child):
    """In a container, Snakemake's number is nobody's or another's."""
    snakemake.kill()
    snakemake.wait()
    job = child(f"{snakemake.pid} pid:[0]")
    assert job.stdout.readline() == "started\n"
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(3)
