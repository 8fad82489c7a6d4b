"""A job that is granted two GPUs trains its SAE on both; two CPU processes stand for them."""

import json

import pytest
from snakemake_project import TINY, Project

from clustersae.runtime.tensors import load_tensors

pytestmark = pytest.mark.long

SAE = "results/tiny/saes/base/1/seed-0"
#: In place of `device.choose_all`.
CHOOSE = """

def choose_all(gpus=0):
    return [torch.device("cpu")] * max(gpus, 1)
"""


def test_a_spread_sae_is_what_one_device_trains(first_run, tmp_path):
    project = Project.create(tmp_path / "project", TINY)
    device = project.folder / "workflow" / "scripts" / "clustersae/runtime/device.py"
    device.write_text(device.read_text() + CHOOSE)
    resources = ("--resources", "gpu=2", "--set-resources", "train_sae:gpu=2")
    result = project.snakemake("--cores", "2", *resources, "--", f"{SAE}/training.json")
    assert result.returncode == 0, result.stdout
    told = json.loads((project.folder / SAE / "training.json").read_text())
    assert told["step"] == "sharded over 2"
    found, _ = load_tensors(project.folder / SAE / "sae.safetensors")
    expected, _ = load_tensors(first_run[0].folder / SAE / "sae.safetensors")
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert (found[name] - weights).abs().max() < 0.02 * weights.abs().max() + 1e-4, name
