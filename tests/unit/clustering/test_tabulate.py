import json

import cluster_layers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from layer_matrices import on_a_line, random_matrix, tie_free_matrices

from clustersae.clustering import linkage, scores
from clustersae.clustering.distances import LayerDistances, save_distances
from clustersae.clustering.scores import total_sharing
from clustersae.clustering.tabulate import tabulate_partitions
from clustersae.experiment.clusters import parse_cluster
from clustersae.runtime.errors import InputError

METHODS = ("complete", "average", "contiguous", "kmeans")


def tabulate(distances, methods=METHODS, controls=("even", "random"), draws=1, seed=0):
    layers = range(len(distances))
    return tabulate_partitions(distances, layers, "angular", methods, controls, draws, seed)


@settings(deadline=None, max_examples=10)
@given(tie_free_matrices)
def test_every_method_has_every_count_in_canonical_form(distances):
    n_layers = len(distances)
    table = tabulate(distances)
    methods = [*METHODS, "even", "random"]
    counts = range(1, n_layers + 1)
    names = [f"{method}-{count}" for method in methods for count in counts]
    assert table["order"] == ["single", *names, "per-layer"] == list(table["partitions"])
    for name, partition in table["partitions"].items():
        clusters = [parse_cluster(cluster) for cluster in partition["clusters"]]
        assert clusters == scores.ordered(clusters)
        assert sorted(sum(clusters, ())) == list(range(n_layers))
        assert len(clusters) == partition["count"]
        assert (partition["cut_height"] is None) == (partition["method"] not in linkage.METHODS)
        if name not in ("single", "per-layer"):
            assert name == f"{partition['method']}-{partition['count']}"
    for method in methods:
        for name, same in ((f"{method}-1", "single"), (f"{method}-{n_layers}", "per-layer")):
            assert table["partitions"][name]["clusters"] == table["partitions"][same]["clusters"]


def test_contiguous_never_loses_to_a_control():
    distances = random_matrix(8, seed=1)
    table = tabulate(distances)["partitions"]

    def cost(name):
        return total_sharing(distances, [parse_cluster(each) for each in table[name]["clusters"]])

    for count in range(1, 9):
        for control in ("even", "random"):
            assert cost(f"contiguous-{count}") <= cost(f"{control}-{count}") + 1e-12


def test_a_model_of_one_layer():
    table = tabulate(np.zeros((1, 1)))
    assert {tuple(p["clusters"]) for p in table["partitions"].values()} == {("0",)}


def test_further_random_draws_have_names_of_their_own():
    once, often = (tabulate(random_matrix(9, seed=1), draws=draws) for draws in (1, 4))
    more = [name for name in often["order"] if name not in once["order"]]
    assert more == [f"random-{count}.{draw}" for draw in (1, 2, 3) for count in range(2, 9)]
    assert {name: often["partitions"][name] for name in once["order"]} == once["partitions"]
    # Each is what another seed would have drawn first.
    later = tabulate(random_matrix(9, seed=1), seed=2)["partitions"]
    assert often["partitions"]["random-4.2"] == later["random-4"]
    fours = {tuple(often["partitions"][f"random-4{draw}"]["clusters"]) for draw in ("", ".1", ".2")}
    assert len(fours) > 1
    assert tabulate(random_matrix(9, seed=1), controls=["even"], draws=4)["order"][-2] == "even-9"


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), "square matrix, not shape"),
        (np.zeros((0, 0)), "square matrix, not shape"),
        (np.zeros(3), "square matrix, not shape"),
        (np.tril(on_a_line(0, 1, 3)), "layers 0 and 1 are 0.0 apart one way and 1.0 the other"),
        (np.array([[0, np.nan], [np.nan, 0]]), "finite"),
        (-on_a_line(0, 1), "non-negative"),
        (np.array([[1, 1], [1, 0]]), "from itself must be zero"),
    ],
)
def test_what_is_no_distance_matrix_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        tabulate(matrix)


def test_of_some_layers_those_of_the_model_are_named():
    with pytest.raises(InputError, match=r"layers 5 and 9 are 1\.0 apart one way and 2\.0 the"):
        tabulate_partitions(np.array([[0, 1], [2, 0]]), (5, 9), "cka", METHODS, (), 1, 0)


def test_the_script_clusters_by_the_distance_it_is_told(tmp_path):
    angular, centred = on_a_line(0, 1, 8, 9), on_a_line(0, 8, 1, 9)
    matrices = (torch.from_numpy(m) / 10 for m in (angular, centred, angular))
    path = tmp_path / "distances.safetensors"
    save_distances(
        path, tmp_path / "distances.csv", LayerDistances(*matrices, 99), "cafe", range(4)
    )
    output = tmp_path / "partitions.json"
    arguments = {"methods": ["complete"], "controls": ["even"], "draws": 1, "seed": 0}
    cluster_layers.main(path, output, distance="angular_centred", **arguments)
    table = json.loads(output.read_text())
    assert table["distance"] == "angular_centred"
    assert table["partitions"]["complete-2"] == {
        "method": "complete",
        "count": 2,
        "clusters": ["0+2", "1+3"],
        "cut_height": 0.1,
        "amad": 0.1,
        "weighted_mean_distance": 0.1,
        "max_distance": 0.1,
    }
    cluster_layers.main(path, output, distance="angular", **arguments)
    assert json.loads(output.read_text())["partitions"]["complete-2"]["clusters"] == ["0-1", "2-3"]
