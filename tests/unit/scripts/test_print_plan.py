"""`snakemake plan` from its files."""

import json

import print_plan
import pytest
from configurations import load

from clustersae.experiment.planning import make_pilots, make_plan
from clustersae.runtime.errors import InputError

FACTS = {
    **{"n_layers": 4, "d_model": 64, "n_ctx": 512, "vocab_size": 100},
    "n_block_weights": 4 * 12 * 64**2,
}
PARTITIONS = {
    "n_layers": 4,
    "partitions": {
        "single": {"method": "single", "clusters": ["0-3"]},
        "complete-2": {"method": "complete", "clusters": ["0-2", "3"]},
        "complete-3": {"method": "complete", "clusters": ["0-1", "2", "3"]},
        "per-layer": {"method": "per-layer", "clusters": ["0", "1", "2", "3"]},
    },
}


@pytest.fixture
def models():
    return load(
        {
            "models": {
                "m": {
                    **{"repo": "some/model", "corpus": {"source": "dataset", "dataset": "a/b"}},
                    "arms": {"shared": {"counts": [2]}, "specialised": [], "auto": []},
                },
                "auto": {
                    "same_as": "m",
                    "arms": {"shared": {"counts": [2]}, "specialised": [], "auto": ["shared"]},
                },
            }
        }
    )


@pytest.fixture
def results(tmp_path):
    write(tmp_path / "m/model/description.json", FACTS)
    return tmp_path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def of_model(printed, name):
    """The part of what is printed that is about one model."""
    return printed[printed.index(f"{name}: p") :].partition("\nauto: p")[0]


def test_before_anything_is_cached_clusters_are_supposed(models, results):
    printed = of_model(print_plan.main(models, [], results, 2), "m")
    assert "clusters are runs of even length here" in printed
    assert f"snakemake {results}/m/clusters/partitions.json" in printed
    assert "0-1" in printed
    assert "cache_activations" in printed
    assert "No times" in printed


def test_what_is_known_replaces_what_is_supposed(models, results):
    settings = models["m"]
    made = [
        write(results / "m/clusters/partitions.json", PARTITIONS),
        write(results / "m/plan.json", make_plan(PARTITIONS, settings).as_json(settings["sae"])),
    ]
    printed = of_model(print_plan.main(models, made, results, 2), "m")
    assert "even length" not in printed
    assert "0-2 " in printed
    assert "0-1" not in printed


def test_pilots_stand_before_the_plan_that_they_add_to(models, results):
    settings = models["auto"]
    made = [
        write(results / "auto/clusters/partitions.json", PARTITIONS),
        write(
            results / "auto/pilots.json", make_pilots(PARTITIONS, settings).as_json(settings["sae"])
        ),
    ]
    printed = print_plan.main(models, made, results, 2)
    pilots = printed.index("auto: pilot trainings, which add one arm")
    assert pilots < printed.index("tokens-1of10") < printed.index("auto: plan")
    assert "0 kB of activations" in printed[pilots:], "they are those of m"


def test_a_description_of_an_earlier_version_is_named(models, results):
    write(results / "m/model/description.json", {**FACTS, "n_block_weights": None})
    with pytest.raises(InputError, match=r"m/model/description.json was written by another"):
        print_plan.main(models, [], results, 2)
