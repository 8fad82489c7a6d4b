"""Progress, in a log and on a terminal."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clustersae.runtime import log
from clustersae.runtime.log import Progress


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def run(n=1000):
    progress = Progress("Walking", n)
    for step in range(n):
        progress.note(f"at {step}")
        progress.update()
    progress.close()


def test_a_short_loop_is_one_line_in_the_log_and_nothing_elsewhere(lines, capsys):
    run()
    (line,) = lines()
    assert line.startswith("Walking: 1000/1000 (100 %), 00:00 left, ")
    assert line.endswith("it/s, at 999")
    assert capsys.readouterr().err == ""


def test_the_log_hears_of_a_long_loop_now_and_then(lines, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    progress = Progress("Walking", 100, initial=40)
    for _ in range(60):
        clock[0] += 1
        progress.update()
    progress.close()
    assert [line.partition(", ")[0] for line in lines()] == [
        f"Walking: {done}/100 ({done} %)" for done in (55, 70, 85, 100, 100)
    ]
    assert ", 00:45 left, " in lines()[0]
    assert not any({"\r", "\n"} & set(line) for line in lines())


def test_where_nobody_knows_the_end_only_what_is_done_is_told(lines):
    progress = Progress("Walking", None)
    progress.update(7)
    progress.close()
    (line,) = lines()
    assert line.startswith("Walking: 7, ")
    assert "left" not in line


def test_a_terminal_sees_one_line_rewritten(lines, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run()
    assert "\rWalking: 0/1000" in capsys.readouterr().err
    assert len(lines()) == 1


def test_a_process_that_is_killed_holds_up_none_that_it_was_forked_from():
    child = os.fork()
    if not child:
        Progress.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert Progress.get_lock().acquire(False) is True
    Progress.get_lock().release()


def test_a_silent_one_says_nothing(lines, capsys):
    progress = Progress("Walking", 10, disable=True)
    progress.update()
    progress.close()
    assert (lines(), capsys.readouterr().err) == ([], "")


JOB = """
import sys
from clustersae.runtime import log
from clustersae.runtime.errors import InputError
log.to(sys.argv[1])
raise InputError("It is wrong.")
"""


def told(path, job=JOB):
    """What a job with its log at `path` says on standard error, before it fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(log.__file__).parents[2])}
    command = [sys.executable, "-c", job, path]
    result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    return result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_ends_the_log_and_not_what_is_told():
    assert told("/dev/full") == "error: It is wrong.\n"


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "logs" / "x.log"
    assert told(path) == (
        f"error: The log {path} cannot be written (Not a directory). Mend that, and run again.\n"
    )


def test_a_gpu_whose_memory_ran_out_is_one_line_and_a_traceback_in_the_log(tmp_path):
    text = (
        "import sys, torch; from clustersae.runtime import log; log.to(sys.argv[1]);"
        "raise torch.OutOfMemoryError('CUDA out of memory.\\nTried to allocate 2 GiB')"
    )
    (line,) = told(tmp_path / "job.log", text).splitlines()
    assert line.startswith("error: The memory of the GPU ran out. Lower activations.batch_rows")
    assert line.endswith("(CUDA out of memory.)")
    assert "Traceback" in (tmp_path / "job.log").read_text()
