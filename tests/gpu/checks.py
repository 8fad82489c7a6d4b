"""Stage a: the tests marked gpu, each with the error that it measured and the one it allows."""

import os
from collections import Counter
from typing import Any

import pytest

from gpu.conftest import DEVICE
from gpu.stages import HERE, Job


def run(job: Job) -> None:
    """Run the tests in this process.

    Raises:
        RuntimeError: one of them fails, or not all have been run; the record has every outcome.
    """
    os.environ[DEVICE] = job.where.type
    job.record.put(tests={})  # all anew: another run may have another outcome
    recorder = Recorder(job)
    # The options of pyproject.toml are those of pytest-xdist, which may not be there.
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    code = pytest.main(
        [*options, "-c", str(HERE.parents[1] / "pyproject.toml"), str(HERE)], [recorder]
    )
    found = job.record.content["tests"].values()
    failed = [each for each in found if each["outcome"] == "failed"]
    passed = [each for each in found if each["outcome"] == "passed"]
    line = f"{len(passed)} of {len(passed) + len(failed)} tests passed"
    skipped = Counter(each["says"] for each in found if each["outcome"] == "skipped")
    left_out = [f"{count} skipped: {reason}" for reason, count in skipped.items()]
    job.record.put(summary=[line, *(f"failed: {each['says']}" for each in failed), *left_out])
    if code or not passed:
        raise RuntimeError(f"{line}; pytest's exit code is {int(code)}")


class Recorder:
    """A plugin that writes down every test as it ends."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        name = report.nodeid.rpartition("::")[2]
        self.job.record.add(
            "tests",
            name,
            {
                "outcome": report.outcome,
                "seconds": round(report.duration, 3),
                **dict(report.user_properties),
                "says": _says(name, report),
            },
        )


def _says(name: str, report: Any) -> str:
    """Why it failed, or was skipped."""
    if report.outcome == "skipped":
        return report.longrepr[2].removeprefix("Skipped: ")
    if report.outcome == "failed":
        *_, last = str(report.longreprtext).strip().split("\n")
        return f"{name}: {last[:300]}"
    return ""
