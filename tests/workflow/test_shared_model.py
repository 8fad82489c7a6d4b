"""A model that is the same as another: what was made for the one is read by the other."""

import json

import pytest

TARGET = "results/wide/tables/arms.csv"
WIDE = {"same_as": "tiny", "sae": {"d_sae": 48}}


@pytest.mark.long
def test_text_model_and_activations_are_those_of_the_other(finished):
    finished.configure(models={"wide": WIDE})
    made = {"train_model", "import_model", "cache_activations", "activation_statistics"}
    assert not finished.plan(TARGET).keys() & made

    finished.run(TARGET)
    tiny, wide = (finished.folder / "results" / name for name in ("tiny", "wide"))
    assert not any((wide / name).exists() for name in ("model", "corpus", "activations"))
    sizes = [
        json.loads((folder / "saes/base/0/seed-0/cfg.json").read_text())["d_sae"]
        for folder in (tiny, wide)
    ]
    assert sizes == [32, 48]
    costs = [(folder / "evaluation/cost.csv").read_text().splitlines() for folder in (tiny, wide)]
    caching = [[line for line in lines if line.startswith("caching")] for lines in costs]
    assert caching[0] == caching[1] != []
    assert finished.plan(TARGET) == {}


def test_what_is_made_anew_for_one_is_read_anew_by_the_other(finished):
    finished.configure(models={"wide": WIDE})
    distances = "results/wide/clusters/distances.csv"
    finished.run(distances)
    finished.configure(activations={"dtype": "bfloat16"})
    once = dict.fromkeys(("cache_activations", "activation_statistics", "layer_distances"), 1)
    assert finished.plan(distances) == once
