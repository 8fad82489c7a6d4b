"""Jobs that ask for a GPU, on a pretended one: what they compute there is what the CPU computes."""

import csv
import json

import pytest
from pretended_gpu import DEVICE
from snakemake_project import REPOSITORY, TINY, Project

pytestmark = pytest.mark.long

#: Of layer_quality.csv.
MEASURED = ("fvu", "mse", "cosine", "l0", "ce_spliced", "kl")

#: In place of those of `device`: what asks for a GPU is written down, and it has room for all.
USED = "used.txt"
CHOOSE = f"""

def choose_all(gpus=0):
    import sys
    import pretended_gpu

    if gpus:
        with open("{USED}", "a") as file:  # tmpabc.train_sae.py
            print(sys.argv[0].split(".")[-2], file=file)
    return [pretended_gpu.choose(gpus)]


def free_bytes(where):
    return 2**40
"""


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory):
    """The tiny experiment, and what it has not: specialised SAEs, all ways of ablating."""
    project = Project.create(tmp_path_factory.mktemp("gpu") / "project", TINY)
    project.configure(
        arms={"specialised": [{"from": 2, "budgets": [0.5]}]},
        evaluation={
            "circuits": {
                "method": "integrated",
                "errors": ["ablated", "nodes", "kept"],
                "ablations": ["mean", "zero", "resample"],
            }
        },
    )
    device = project.folder / "workflow" / "scripts" / "clustersae/runtime/device.py"
    device.write_text(device.read_text() + CHOOSE)
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


def test_the_jobs_were_given_the_gpu(on_gpu):
    model = on_gpu.folder / "results" / "language_models" / "tiny" / "model"
    assert json.loads((model / "training.json").read_text())["device"] == str(DEVICE)
    used = (on_gpu.folder / USED).read_text().split()
    asked = (
        *("train_model", "cache_activations", "train_sae", "evaluate_reconstruction"),
        *("evaluate_splice", "evaluate_language_model", "evaluate_correspondence"),
        *("assess_task", "evaluate_circuits", "evaluate_features"),
    )
    assert {*asked} <= {*used}
