"""SAEs read on other layers, and distances held against what that costs."""

from itertools import product

import evaluate_transfer
import numpy as np
import pandas as pd
import pytest
import torch
from held_saes import Held
from sae_settings_of import topk_settings
from synthetic_shards import D_SAE, FINGERPRINT, N_LAYERS, K, write_split

from clustersae.activations.blocks import layer_blocks, read_blocks
from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import compute_statistics
from clustersae.latents.code import first_tokens
from clustersae.presentation.findings import Findings
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae
from clustersae.transfer import figure, tabulate, text
from clustersae.transfer.measure import home_of, moved
from clustersae.transfer.table import pairs_table, partitions_table, similarity_table


@pytest.fixture
def shards(tmp_path):
    return write_split(tmp_path, "validation")


def sae_of(layers, shards, seed=0):
    statistics = compute_statistics(read_blocks(open_shards(shards)))
    index = list(layers)
    sae = TopK(layers, D_SAE, K, statistics.mean[index], statistics.scale[index])
    sae.initialise(torch.Generator().manual_seed(seed))
    return sae.requires_grad_(False)


def test_an_sae_that_is_read_elsewhere_is_what_a_shared_one_would_be_there(shards):
    """The same weights for two layers, as one SAE of both has them."""
    own, other, shared = (sae_of(layers, shards) for layers in ((0,), (2,), (0, 2)))
    there = moved(own, other)
    blocks = list(layer_blocks(open_shards(shards), 2))
    assert evaluate_layer(there, 2, blocks).compute() == evaluate_layer(shared, 2, blocks).compute()
    assert there.W_dec.data_ptr() == own.W_dec.data_ptr()
    with pytest.raises(InputError, match="serves the layers"):
        there.encode(blocks[0], 0)


def test_the_script_reads_every_sae_on_every_layer(shards, tmp_path, monkeypatch):
    folders = []
    for seed in (0, 1):
        for layer in range(N_LAYERS):
            folders.append(tmp_path / f"{layer}-{seed}")
            settings = topk_settings(D_SAE, K, seed=seed)
            save_sae(folders[-1], sae_of((layer,), shards, seed), settings, "base", FINGERPRINT)
    output = tmp_path / "transfer.csv"
    read = []
    monkeypatch.setattr(
        evaluate_transfer, "layer_blocks", lambda *each: read.append(each[1]) or layer_blocks(*each)
    )
    size = (folders[0] / "sae.safetensors").stat().st_size
    tables = []
    for n_held, n_batches in ((0, 3), (2, 2), (3, 1)):
        read.clear()
        with monkeypatch.context() as patched:
            patched.setattr(evaluate_transfer, "HELD_BYTES", n_held * size)
            held = Held(patched, evaluate_transfer)
            evaluate_transfer.main(folders[::-1], shards, output, 1200, torch.device("cpu"))
        assert held.most == max(n_held, 1)
        # Tokens of a layer are read once for all SAEs of a seed that are held together.
        assert sorted(read) == sorted([*range(N_LAYERS)] * 2 * n_batches)
        tables.append(output.read_text())
    assert len(set(tables)) == 1
    rows = pd.read_csv(output, float_precision="round_trip")
    assert set(rows["n_tokens"]) == {1200}
    pairs = list(product((0, 1), range(N_LAYERS), range(N_LAYERS)))
    assert list(zip(rows["seed"], rows["target"], rows["source"])) == pairs
    for (seed, target, source), fvu in zip(pairs, rows["fvu"]):
        there = moved(*(sae_of((layer,), shards, seed) for layer in (source, target)))
        blocks = first_tokens(layer_blocks(open_shards(shards), target), 1200)
        assert fvu == evaluate_layer(there, target, blocks).compute()["fvu"]


def test_an_sae_of_several_layers_is_refused(shards, tmp_path):
    save_sae(tmp_path, sae_of((0, 2), shards), topk_settings(D_SAE, K), "base", FINGERPRINT)
    with pytest.raises(InputError, match=r"Transfer needs SAEs of single layers, not of \[0, 2\]"):
        home_of(tmp_path)


def measured(places, noise=0.0, seeds=(0, 1, 2), layers=None):
    """Layers on a line; reading an SAE at distance d costs d, FVU at home is 0.2."""
    layers = layers or range(len(places))
    generator = np.random.default_rng(0)
    transfer = [
        {
            "variant": "base", "seed": seed, "source": i, "target": j, "n_tokens": 9,
            "fvu": 0.2 * (1 + abs(a - b)) * (1 + noise * generator.standard_normal()),
        }
        for seed in seeds
        for i, a in zip(layers, places)
        for j, b in zip(layers, places)
    ]  # fmt: skip
    distances = [
        {"distance": name, "layer_i": i, "layer_j": j, "value": value(abs(a - b))}
        for name, value in (("good", np.sqrt), ("bad", np.negative))
        for i, a in zip(layers, places)
        for j, b in zip(layers, places)
    ]
    return pd.DataFrame(transfer), pd.DataFrame(distances)


def test_the_rank_correlation_is_one_for_what_orders_pairs_as_the_loss_does():
    pairs = pairs_table(*measured([0, 1, 3, 7]))
    assert len(pairs) == 6 * 3
    assert pairs["excess"].tolist()[:3] == pytest.approx([1, 3, 7])
    table = similarity_table(pairs, ["good", "bad"]).set_index("distance")
    assert table["rank_correlation"].tolist() == [1, -1]
    assert table.loc["good", "rank_correlation_low"] == 1
    assert table.loc["good", "n_pairs"] == 6


def test_one_seed_gives_no_interval():
    table = similarity_table(pairs_table(*measured([0, 1, 3], seeds=[4])), ["good"])
    assert np.isnan(table["rank_correlation_low"].item())


def test_no_interval_leaves_what_a_rank_correlation_can_be():
    pairs = pairs_table(*measured([0, 1, 3, 7, 8], noise=0.3))
    table = similarity_table(pairs, ["good", "bad"]).set_index("distance")
    assert -1 < table.loc["good", "rank_correlation_low"] < 0
    assert table.loc["good", "rank_correlation_high"] == 1
    assert table.loc["bad", "rank_correlation_low"] == -1


def test_partitions_by_the_loss_are_the_yardstick():
    """Two groups far apart: clusters by a good distance find them, even runs do not."""
    pairs = pairs_table(*measured([0, 0.1, 0.2, 10], layers=[3, 6, 9, 12]))
    pairs["angular"] = pairs["good"]
    table = partitions_table(pairs, ["angular"]).set_index(["distance", "count"])
    assert set(table.index.get_level_values("count")) == {1, 2, 3}
    assert table.loc[("angular", 2), "clusters"] == "3+6+9 12"
    assert table.loc[("transfer", 2), "clusters"] == "3+6+9 12"
    assert table.loc[("even", 2), "clusters"] == "3+6 9+12"
    # Mean over layers of the mean excess within the cluster: (0.4 / 3 · 3 + 0) / 4.
    assert table.loc[("transfer", 2), "mean_excess"] == pytest.approx(0.4 / 4)
    assert table.loc[("even", 2), "mean_excess"] > 2


def test_a_pair_without_a_distance_is_refused():
    transfer, distances = measured([0, 1, 3])
    with pytest.raises(InputError, match="lack some of the pairs"):
        pairs_table(transfer, distances[distances["layer_j"] < 2])


def test_tables_figure_and_text_of_one_experiment(tmp_path):
    transfer, distances = measured([0, 1, 3, 7, 8], noise=0.05)
    distances["distance"] = distances["distance"].replace({"good": "angular_centred", "bad": "cka"})
    for name, frame in (("transfer", transfer), ("distances", distances)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    made = tabulate.tables(str(tmp_path / "transfer.csv"), str(tmp_path / "distances.csv"))
    pairs, similarity, partitions = (made[name] for name in ("pairs", "similarity", "partitions"))
    drawn = figure.draw(pairs, similarity, partitions, "tiny")
    assert "ρ = 0.9" in drawn.axes[0].get_title(loc="left")
    tables = {"similarity": similarity, "transfer_partitions": partitions}
    found = Findings(tables, {}, {"mean": 0.05, "worst": 0.1}, {})
    said = text.paragraph(found)
    assert said.startswith("Over 10 pairs of layers")
    assert "angular_centred 0.9" in said
    # The other distance falls where the loss rises; even runs are no linkage.
    assert "cka -0.9" in said
    assert "by even" not in said
    assert ", and even runs leave" in said
    assert text.line(found) == ""


def test_an_sae_that_does_better_elsewhere_is_drawn_below_zero():
    transfer, distances = measured([0, 1, 3])
    transfer.loc[transfer["source"] != transfer["target"], "fvu"] *= 0.2  # 0.2 at home
    pairs = pairs_table(transfer, distances.replace({"distance": {"good": "angular"}}))
    similarity, partitions = (
        made(pairs, ["angular"]) for made in (similarity_table, partitions_table)
    )
    # All layers together: the mean of 1 + 1, 1 + 2 and 1 + 3 fifths, less 1.
    assert partitions["mean_excess"].tolist()[0] == pytest.approx(-0.4)
    axis = figure.draw(pairs, similarity, partitions, "tiny").axes[-1]
    assert axis.get_ylim()[0] == partitions["mean_excess"].min()


@pytest.mark.parametrize("places", [[0], [0, 1]])
def test_one_layer_has_nothing_to_compare_and_one_pair_no_order(places):
    pairs = pairs_table(*measured(places))
    assert len(pairs) == 3 * (len(places) - 1)
    similarity, partitions = similarity_table(pairs, ["good"]), partitions_table(pairs, ["good"])
    assert similarity.empty
    assert partitions.empty == (len(places) == 1)
    tables = {"similarity": similarity, "transfer_partitions": partitions}
    assert text.paragraph(Findings(tables, {}, {"mean": 0.05, "worst": 0.1}, {})) == ""
    figure.draw(pairs, similarity, partitions, "tiny")
