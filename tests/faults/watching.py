"""Snakemake as a process that can be hurt: what it says of its jobs, and which of them run."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

#: What a user types, on the CPU of this machine.
COMMAND = ("--cores", "2", "--resources", "gpu=0")
_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.MULTILINE)


class Job(NamedTuple):
    """A job as Snakemake announces it."""

    rule: str
    number: int  # Snakemake's own, within one start
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str


class Started:
    """One start of Snakemake, in a process group of its own, with what it prints in a file."""

    def __init__(self, folder: Path, printed: Path, arguments: Sequence[str] = ()) -> None:
        self.arguments, self.printed = (*COMMAND, *arguments), printed
        with open(printed, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *self.arguments],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self._known = psutil.Process(self.process.pid)

    def text(self) -> str:
        return self.printed.read_text(encoding="utf-8", errors="replace")

    def events(self) -> list[Job | int]:
        """Jobs that were started, without the target rule, and numbers of those that ended well.

        In the order in which Snakemake says so: what was made again between the end of one job and
        the start of another tells whether the other may be made again.
        """
        text = self.text()
        events: list[tuple[int, Job | int]] = [
            (each.start(), _job(*each.groups()))
            for each in _JOB.finditer(text)
            # What is just being written may end before its number.
            if each[1] != "all" and "    jobid: " in each[2]
        ]
        events += [(each.start(), int(each[1])) for each in _FINISHED.finditer(text)]
        return [event for _, event in sorted(events, key=lambda each: each[0])]

    def jobs(self) -> list[Job]:
        """All that were started, in order."""
        return [event for event in self.events() if isinstance(event, Job)]

    def finished(self) -> list[int]:
        """Numbers of the jobs that Snakemake has seen to end well."""
        return [event for event in self.events() if isinstance(event, int)]

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but not longer; whether it has come."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def running(self) -> list[tuple[str, psutil.Process]]:
        """(script, process) of every job that runs now."""
        found = []
        for process in self._descendants():
            try:
                told = process.cmdline()
            except psutil.Error:  # it has just ended
                continue
            script = next((Path(part).name for part in told if "/scripts/" in part), "")
            if script.endswith(".py") and Path(told[0]).name.startswith("python"):
                found.append((script.rpartition(".py")[0].rpartition(".")[2], process))
        return found

    def _descendants(self) -> list[psutil.Process]:
        try:
            return self._known.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def send(self, number: int, to_all: bool = False) -> list[psutil.Process]:
        """Signal Snakemake, or it and its jobs as a terminal does; who ran at that moment."""
        jobs = [process for _, process in self.running()]
        if to_all:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return jobs

    def end(self) -> None:
        """Whatever is left of it: for the end of the injector itself."""
        if not self.ended():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def outlived(jobs: Sequence[psutil.Process], seconds: float) -> int:
    """How many processes still run after so long a time, which is cut short when none does."""
    give_up = time.monotonic() + seconds
    while (left := [job for job in jobs if _runs(job)]) and time.monotonic() < give_up:
        time.sleep(0.1)
    return len(left)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _job(rule: str, block: str) -> Job:
    told = dict(line.strip().split(": ", 1) for line in block.splitlines() if ": " in line)
    files = [told.get(key, "") for key in ("input", "output")]
    inputs, outputs = (tuple(filter(None, text.split(", "))) for text in files)
    return Job(rule, int(told["jobid"]), inputs, outputs, told.get("reason", ""))
