"""Latents in the format of SAEDashboard's batches, on an invented run."""

import json
from pathlib import Path
from tempfile import mkdtemp

import pytest
import write_neuronpedia
from synthetic_browser import EVIL, GONE, HOSTILE, TWIN, Run

from clustersae.browser.neuronpedia import BATCH
from clustersae.experiment.plan import BROWSED

#: Arguments of SAEDashboard's NeuronpediaDashboardFeature and NeuronpediaDashboardActivation that
#: have no meaning without dictionaries of attention, gradients or steering.
FEATURE = {
    *("feature_index", "neuron_alignment_indices", "neuron_alignment_values"),
    *("neuron_alignment_l1", "correlated_neurons_indices", "correlated_neurons_l1"),
    *("correlated_neurons_pearson", "correlated_features_indices", "correlated_features_l1"),
    *("correlated_features_pearson", "neg_str", "neg_values", "pos_str", "pos_values"),
    *("frac_nonzero", "freq_hist_data_bar_values", "freq_hist_data_bar_heights"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "n_prompts_total"),
    *("n_tokens_in_prompt", "dataset", "decoder_weights_dist", "activations"),
}
ACTIVATION = {"bin_min", "bin_max", "bin_contains", "tokens", "values"}


def write(run: Run, path: Path, kinds=tuple(BROWSED)) -> Path:
    write_neuronpedia.main(
        "invented", run.plan, run.measured, run.directions, path, list(kinds), n_contexts=2
    )
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    run = Run(tmp_path_factory.mktemp("run"), n_shared=BATCH + 12)
    return write(run, run.folder / "neuronpedia/index.json")


def test_nothing_of_an_earlier_run_stays(tmp_path):
    path = tmp_path / "neuronpedia/index.json"
    write(Run(tmp_path / "many", n_shared=BATCH + 12), path)
    few = Run(tmp_path / "few", n_shared=12)
    mkdtemp(prefix=".batch-1.json.", dir=max(path.parent.glob("*/batch-1.json")).parent)  # killed
    write(few, path, ["shared"])
    write(few, tmp_path / "fresh/index.json", ["shared"])

    def files(folder):
        return sorted(each.relative_to(folder) for each in folder.rglob("*"))

    assert files(path.parent) == files(tmp_path / "fresh")
    own = [path.parent / "mine/batch-notes.json", path.parent / "mine/explanations.csv"]
    own[0].parent.mkdir()
    for file in (*own, own[0].with_name("batch-0.json")):
        file.write_text("{}")
    write(few, path, ["shared"])
    assert sorted(own[0].parent.iterdir()) == own  # what others have put there does


def test_the_index_names_a_folder_for_every_sae_and_layer(index):
    content = json.loads(index.read_text())
    assert content["model_id"] == "invented"
    saes = [(each["sae"], each["layer"]) for each in content["sources"]]
    assert saes == [("0-1", 0), ("0-1", 1), ("0@0-1", 0), ("1@0-1", 1), ("0", 0), ("1", 1)]
    folders = [each["folder"] for each in content["sources"]]
    assert len(set(folders)) == len(folders)
    for each in content["sources"]:
        first = json.loads((index.parent / each["folder"] / "batch-0.json").read_text())
        assert (first["model_id"], first["layer"]) == ("invented", each["layer"])
        assert each["folder"] == f"{each['layer']}-{first['sae_set']}"


def features(index, source):
    folder = index.parent / json.loads(index.read_text())["sources"][source]["folder"]
    batches = [json.loads(path.read_text()) for path in sorted(folder.glob("batch-*.json"))]
    assert all(len(batch["features"]) <= BATCH for batch in batches)
    return {each["feature_index"]: each for batch in batches for each in batch["features"]}


def test_every_latent_that_fires_on_the_layer_has_one_entry_with_the_keys_of_the_format(index):
    root, family = features(index, 0), features(index, 2)
    assert sorted(root) == list(range(BATCH + 12))
    assert sorted(family) == [latent for latent in root if latent != GONE]
    # Even ones fire on layer 0 alone.
    assert sorted(features(index, 1)) == [latent for latent in root if latent % 2]
    for each in root.values():
        assert set(each) == FEATURE
        assert all(set(activation) == ACTIVATION for activation in each["activations"])


def test_values_are_those_that_were_measured(index):
    twin = features(index, 0)[TWIN]
    assert (twin["pos_str"], twin["pos_values"]) == (["stripes", "grass"], [2.5, 2.5])
    assert (twin["neg_str"], twin["neg_values"]) == (["tax"], [-1.5])
    assert twin["frac_nonzero"] == 0.1
    # Those of the SAE as it is exported: 5 and 0.25 on the page, times the layer's scale.
    first, second = (features(index, layer)[TWIN]["activations"] for layer in (0, 1))
    assert [each["values"] for each in first] == [
        [0, 0, 0.0004883, 0.009766, 0],
        [0, 0, 0.0004883, 0.007812, 0],
    ]
    assert [each["bin_max"] for each in first] == [0.009766, 0.007812]
    assert [each["values"] for each in second] == [[0, 0, 0.75, 15, 0], [0, 0, 0.75, 12, 0]]
    assert twin["activations"][0]["tokens"] == ["see", "number0", "the", "zebra", "run"]
    assert features(index, 0)[HOSTILE]["activations"][0]["tokens"] == list(EVIL)
    assert features(index, 0)[2]["activations"] == []
