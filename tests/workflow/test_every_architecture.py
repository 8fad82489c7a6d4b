"""The whole workflow with SAEs of every architecture but TopK, which all other tests have."""

import json
from math import isfinite

import pandas as pd
import pytest

from clustersae.sae.registry import ARCHITECTURES
from clustersae.sae.storage import load_sae

pytestmark = pytest.mark.long
NAMES = [name for name in ARCHITECTURES if name != "topk"]
ARMS = {"shared": {"counts": [1]}, "specialised": [{"from": 1, "budgets": [0.5]}]}
CHILD = "tokens-1of4@equal-exposure-1of4"
FORMATS = ("saelens", "dictionary_learning")
#: Figures and pages are made from tables that are alike for all architectures.
MADE = (
    *(f"tables/{name}" for name in ("arms.csv", "circuits.csv", "features.csv", "verdict.txt")),
    *(f"exports/{format}/index.json" for format in FORMATS),
)


@pytest.fixture(scope="module")
def results(first_run, tmp_path_factory):
    """What is measured and exported of each architecture, on the same activations."""
    project = first_run[0].copy(tmp_path_factory.mktemp("architectures") / "project")
    models = {
        name: {"same_as": "tiny", "sae": {"architecture": name}, "arms": ARMS} for name in NAMES
    }
    project.configure(models=models, exports={"formats": list(FORMATS)})
    project.run(*(f"results/{name}/{file}" for name in NAMES for file in MADE))
    return project.folder / "results"


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_is_trained_measured_and_spliced(results, name):
    folder = results / name
    plan = json.loads((folder / "plan.json").read_text())
    for each in plan["saes"]:
        sae = load_sae(folder / f"saes/{each['variant']}/{each['sae']}/seed-0")
        assert type(sae) is ARCHITECTURES[name]
    child = load_sae(folder / f"saes/{CHILD}/1@0-2/seed-0")
    assert child.config["starts_from"] == ["equal-exposure-1of4", "0-2"]
    arms = pd.read_csv(folder / "tables/arms.csv")
    roles = {"baseline", "main", "equal-compute", "specialised"}
    assert set(arms["role"]) == roles
    for column in ("fvu", "fvu_worst", "ce_all", "l0", "dead_fraction", "cost_flops"):
        assert arms[column].map(isfinite).all(), column


@pytest.mark.parametrize("name", NAMES)
def test_circuits_and_features_have_every_arm(results, name):
    folder = results / name / "tables"
    arms = set(pd.read_csv(folder / "arms.csv")["arm"])
    circuits = pd.read_csv(folder / "circuits.csv")
    assert set(circuits["arm"]) >= arms - {"per-layer (tokens-1of2)"}
    assert circuits["faithfulness"].map(isfinite).any()
    assert len(pd.read_csv(folder / "features.csv")) > 0


@pytest.mark.parametrize("name", NAMES)
def test_exports_and_the_verdict_are_there(results, name):
    folder = results / name
    for format in FORMATS:
        index = json.loads((folder / f"exports/{format}/index.json").read_text())
        # 3 per-layer SAEs in full and on half, those specialised, and the shared one at 3 layers
        assert len(index["saes"]) == 4 * 3
        assert all(
            (folder / "exports" / format / each["folder"]).is_dir() for each in index["saes"]
        )
    assert (folder / "tables/verdict.txt").read_text().startswith("Best: ")
