"""A model that is the same as another: what was made for the one is not made again."""

import json

TARGET = "results/wide/tables/arms.csv"
WIDE = {"same_as": "tiny", "sae": {"d_sae": 48}}


def test_text_model_and_activations_are_those_of_the_other(finished):
    finished.configure(models={"wide": WIDE})
    plan = finished.plan(TARGET)
    assert plan["share_file"] > 0
    made = {"build_corpus", "train_model", "cache_activations", "measure_generation"}
    assert not plan.keys() & made

    finished.run(TARGET)
    tiny, wide = (finished.folder / "results" / name for name in ("tiny", "wide"))
    for file in ("model/config.json", "activations/train/shard-0.safetensors"):
        assert (wide / file).samefile(tiny / file)
    sizes = [
        json.loads((folder / "saes/base/0/seed-0/cfg.json").read_text())["d_sae"]
        for folder in (tiny, wide)
    ]
    assert sizes == [32, 48]
    costs = [(folder / "evaluation/cost.csv").read_text().splitlines() for folder in (tiny, wide)]
    caching = [[line for line in lines if line.startswith("caching")] for lines in costs]
    assert caching[0] == caching[1] != []
    assert finished.plan(TARGET) == {}


def test_what_is_made_anew_for_one_is_taken_anew_by_the_other(finished):
    finished.configure(models={"wide": WIDE})
    finished.run("results/wide/activations/statistics.safetensors")
    finished.configure(activations={"dtype": "bfloat16"})
    plan = finished.plan("results/wide/activations/statistics.safetensors")
    assert plan["cache_activations"] == plan["share_file"] == 1
    finished.run("results/wide/activations/statistics.safetensors")
    shard = "activations/train/shard-0.safetensors"
    tiny, wide = (finished.folder / "results" / name / shard for name in ("tiny", "wide"))
    assert wide.samefile(tiny)
