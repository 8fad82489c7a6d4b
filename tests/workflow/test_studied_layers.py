"""An experiment on some layers of a model: everything is about those, by their indices."""

import json

import pandas as pd
import pytest

from clustersae.activations.shards import open_shard
from clustersae.sae.storage import load_sae


@pytest.fixture(scope="module")
def some_layers(first_run, tmp_path_factory):
    """Of the tiny model's three layers the first and the last, with outliers left out."""
    project = first_run[0].copy(tmp_path_factory.mktemp("layers") / "project")
    project.configure(
        activations={
            "layers": {"step": 2},
            "max_norm_multiple": 1.3,
            "dtype": "bfloat16",
            "tokens": {"train": 2000, "validation": 300, "test": 300},
        },
        sae={"normalisation": "dimensions"},
        arms={"shared": {"counts": [1]}, "specialised": [{"from": 1, "budgets": [0.5]}]},
    )
    project.run()
    return project.folder / "results/tiny"


@pytest.mark.long
def test_everything_is_about_the_studied_layers(some_layers):
    partitions = json.loads((some_layers / "clusters/partitions.json").read_text())
    assert partitions["layers"] == [0, 2]
    assert partitions["partitions"]["single"]["clusters"] == ["0+2"]
    saes = {path.name for path in some_layers.glob("saes/*/*")}
    assert {"0+2", "0", "2", "0@0+2", "2@0+2"} <= saes
    for name in ("layer_quality", "stream"):
        table = pd.read_csv(some_layers / f"tables/{name}.csv")
        assert set(table["layer"]) == {0, 2}
    spliced = pd.read_csv(some_layers / "evaluation/language_model.csv", dtype={"layer": str})
    assert set(spliced["layer"].dropna()) == {"0", "2", "all"}
    curves = list(some_layers.glob("evaluation/circuits/*/*/*/curves.csv"))
    assert curves
    assert (some_layers / "figures/layer_distances.png").is_file()
    assert (some_layers / "tables/verdict.txt").read_text()


@pytest.mark.long
def test_an_sae_says_what_it_was_trained_without(some_layers):
    sae = load_sae(some_layers / "saes/base/0+2/seed-0")
    left_out = sae.config["left_out"]
    assert left_out["max_norm_multiple"] == 1.3
    assert set(left_out["max_norm"]) == {"0", "2"}
    assert sae.config["normalisation"] == "dimensions"
    assert sae.layer_scale.shape == (2, 16)
    shard = open_shard(some_layers / "activations/train/shard-0.safetensors")
    for layer in (0, 2):
        assert shard.layer(layer).norm(dim=1).max() <= left_out["max_norm"][str(layer)] * 1.01
    assert len(shard.reasons()) > 0
    stream = pd.read_csv(some_layers / "tables/stream.csv")
    assert (stream["n_norm"] > 0).all()
    assert (stream["rounding_share"] > 0).all()
