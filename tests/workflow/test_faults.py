"""Twenty faults at random moments: the documented commands end the run as if nothing had been."""

import csv
import os
import subprocess
import sys

import pytest
from snakemake_project import REPOSITORY


@pytest.mark.long
def test_twenty_random_faults_leave_no_trace(first_run, tmp_path):
    project, _ = first_run
    log = tmp_path / "faults.csv"
    path = os.pathsep.join([str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")])
    result = subprocess.run(
        [
            *(sys.executable, "-m", "faults.inject", "--log", log, "--folder", tmp_path / "work"),
            *("--faults", "20", "--per-run", "20", "--reference", project.folder),
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert {row["run"] for row in rows} == {"as undisturbed"}
    assert all(row["outcome"] for row in rows)
