"""Jobs that ask for a GPU, on a pretended one: what they compute there is what the CPU computes."""

import csv

import pytest
from snakemake_project import REPOSITORY, TINY, Project

#: Nothing else of a row of layer_quality.csv may depend on the device either.
MEASURED = ("fvu", "mse", "cosine", "l0", "ce_spliced", "kl")


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory):
    """The tiny experiment, and what it has not: specialised SAEs, all ways of ablating."""
    project = Project.create(tmp_path_factory.mktemp("gpu") / "project", TINY)
    project.configure(
        clustering={"specialise": [{"from": [2], "budgets": [0.5]}]},
        evaluation={
            "circuits": {
                "method": "integrated",
                "errors": ["ablated", "nodes", "kept"],
                "ablations": ["mean", "zero", "resample"],
            }
        },
    )
    device = project.folder / "workflow" / "scripts" / "clustersae" / "device.py"
    device.write_text(device.read_text() + "\nfrom pretended_gpu import choose\n")
    tests = str(REPOSITORY / "tests")
    result = project.snakemake("--cores", "2", "--resources", "gpu=2", PYTHONPATH=tests)
    assert result.returncode == 0, result.stdout
    return project


def quality(project):
    file = project.folder / "results" / "tiny" / "tables" / "layer_quality.csv"
    with file.open(encoding="utf-8") as rows:
        return {
            (row["partition"], row["layer"], row["split"]): [
                row[key] and float(row[key]) for key in MEASURED
            ]
            for row in csv.DictReader(rows)
            if row["variant"] == "base" and row["partition"] in ("per-layer", "complete-2")
        }


def test_every_job_runs_and_measures_what_the_cpu_measures(first_run, on_gpu):
    expected, found = quality(first_run[0]), quality(on_gpu)
    assert expected.keys() == found.keys()
    for row, values in expected.items():
        for value, other in zip(values, found[row]):
            assert other == (value and pytest.approx(value, rel=1e-4)), row
