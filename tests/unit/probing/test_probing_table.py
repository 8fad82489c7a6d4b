"""The whole way from SAEs to the table, its words and its figure."""

from types import SimpleNamespace

import evaluate_probing
import numpy as np
import pandas as pd
import pytest
import torch
from drawn_texts import texts_of
from sae_settings_of import topk_settings
from synthetic_shards import made_shard
from tokenizers import Tokenizer, models

from clustersae.corpora.tokens import TokenFile, Vocabulary, write_tokens
from clustersae.experiment.arms import Arm
from clustersae.presentation.findings import Findings
from clustersae.presentation.tables import read_file, write_table
from clustersae.probing import figure, tabulate, text
from clustersae.probing.probes import PROBE_COLUMNS
from clustersae.probing.table import ACTIVATIONS, PROBES, probing_table
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae

WORDS = ["<bos>", "one", "Two", "3", "four", "."]
N_ROWS, N_CTX, D_MODEL = 120, 10, len(WORDS)


def drawn(table):
    return " ".join(text for text, _ in texts_of(figure.draw(table, "m"))).replace("\n", " ")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A stream that has one dimension per word, so that one latent tells a word."""
    folder = tmp_path_factory.mktemp("probing")
    for seed, split in enumerate(evaluate_probing.SPLITS):
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(1, D_MODEL, (N_ROWS, N_CTX), generator=generator)
        tokens[:, 0] = 0
        row, column = (tokens != 0).nonzero(as_tuple=True)
        order = torch.randperm(len(row), generator=generator)
        row, column = row[order], column[order]
        x = torch.nn.functional.one_hot(tokens[row, column], D_MODEL).float()
        columns = tokens[row, column].int(), column.int(), row.int()
        made_shard(folder / f"{split}.shard", [x, 2 * x], columns, split=split, fingerprint="f")
        vocabulary = Vocabulary("words", D_MODEL, 0, None)
        file = TokenFile(tokens.int(), vocabulary, "source", "0" * 64)
        write_tokens(folder / f"{split}.safetensors", file)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    Tokenizer(models.WordLevel(vocabulary, "<bos>")).save(str(folder / "tokenizer.json"))
    return evaluate_probing.Files(
        {split: [folder / f"{split}.shard"] for split in evaluate_probing.SPLITS},
        {split: folder / f"{split}.safetensors" for split in evaluate_probing.SPLITS},
        folder / "tokenizer.json",
        None,
    )


def write_sae(folder, layers, seed):
    sae = TopK(layers, D_MODEL, 1, torch.zeros(len(layers), D_MODEL), torch.ones(len(layers)))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(D_MODEL))
        sae.W_enc.copy_(torch.eye(D_MODEL))
    settings = topk_settings(D_MODEL, 1, seed=seed)
    save_sae(folder, sae, settings, "base", "f", "")
    return folder


def probed(files, output, saes, n_tokens=200):
    variant, partition = ("base", "single") if saes else ("", "")
    where = torch.device("cpu")
    evaluate_probing.main(saes, files, variant, partition, output, 1000, n_tokens, 0, where)
    return read_file(output)


def test_words_that_have_a_latent_are_told_by_one(files, tmp_path):
    saes = [write_sae(tmp_path / f"sae-{seed}", (0, 1), seed) for seed in (0, 1)]
    rows = probed(files, tmp_path / "arm.csv", saes)
    assert list(rows) == ["variant", "partition", "seed", *PROBE_COLUMNS]
    assert set(rows["seed"]) == set(rows["layer"]) == {0, 1}
    one = rows[rows["k"] == 1].set_index("label")["accuracy"]
    for label in ("capitalised", "number", "begins a word"):
        assert (one[label] == 1).all()
    # What came before a word, its latent does not say.
    assert one["seen before in its row"].max() < 0.75
    whole = probed(files, tmp_path / "whole.csv", [])
    assert (whole["k"] == 0).all()
    assert whole[["variant", "seed"]].isna().all(axis=None)
    assert (whole.set_index("label").loc["number", "accuracy"] == 1).all()


def test_a_text_without_labels_leaves_a_header_and_an_empty_figure(files, tmp_path):
    saes = [write_sae(tmp_path / "sae", (0, 1), 0)]
    paths = [tmp_path / "arm.csv", tmp_path / "whole.csv"]
    assert probed(files, paths[0], saes, 20).empty
    assert probed(files, paths[1], [], 20).empty
    arms = [Arm("single", "base", "per-layer", 2, 2, "baseline", (("base", "0-1"),))]
    made = tabulate.tables(SimpleNamespace(coded_arms=arms), paths[:1], paths[1])
    write_table(made["probing"], tmp_path / "table.csv")
    table = read_file(tmp_path / "table.csv")
    assert table.empty
    assert "No label" in drawn(table)
    assert text.paragraph(Findings({"probing": table}, {}, {}, {})) == ""


ARMS = [
    Arm("per-layer", "base", "per-layer", 2, 2, "baseline", (("base", "0"), ("base", "1"))),
    Arm("single", "base", "single", 1, 1, "main", (("base", "0-1"),)),
]


def measured(loss=(0.1, 0.2, 0.3)):
    """Two labels, two layers, two sizes and three seeds; the shared SAE loses `loss` by seed."""
    rows = [
        {"variant": "base", "partition": partition, "seed": seed, "label": label, "layer": layer,
         "k": k, "n_train": 100, "n_test": 80, "f1": 0.5,
         "accuracy": 0.6 + 0.1 * layer + 0.04 * (label == "b") + 0.01 * k - lost}
        for partition, losses in (("per-layer", (0, 0, 0)), ("single", loss))
        for seed, lost in enumerate(losses)
        for label in "ab"
        for layer in (0, 1)
        for k in (1, 4)
    ]  # fmt: skip
    whole = [
        {"label": label, "layer": layer, "n_train": 100, "n_test": 80, "accuracy": 0.9 + 0.02 *
         layer, "f1": 0.8}
        for label in "ab" for layer in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)[[*PROBES.key, *PROBES.values]], pd.DataFrame(whole)


def test_means_and_intervals_by_hand():
    rows, whole = measured()
    assert set(ACTIVATIONS.key) <= set(whole)
    table = probing_table(ARMS, rows, whole).set_index(["arm", "k", "label"])
    per_layer = table.loc["per-layer", 1, "all"]
    assert per_layer["accuracy"] == pytest.approx(0.6 + 0.05 + 0.02 + 0.01)
    assert per_layer["accuracy_activations"] == pytest.approx(0.91)
    assert (per_layer["n_labels"], per_layer["n_layers"], per_layer["n_seeds"]) == (2, 2, 3)
    assert (per_layer["n_test"], per_layer["majority"]) == (80, 0.5)
    assert np.isnan(per_layer["accuracy_vs_baseline"])
    shared = table.loc["single", 4, "b"]
    # Student's t of 0.1, 0.2, 0.3: the quantile of two degrees of freedom is 4.3027.
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert shared["accuracy_vs_baseline"] == pytest.approx(-0.2)
    assert shared["accuracy_vs_baseline_low"] == pytest.approx(-0.2 - half)
    assert shared["accuracy_vs_baseline_high"] == pytest.approx(-0.2 + half)
    assert shared["f1_vs_baseline"] == 0
    assert len(table) == 2 * 2 * 3


@pytest.mark.parametrize(("column", "value"), [("label", "a"), ("seed", 2)])
def test_an_arm_that_was_probed_for_other_labels_or_seeds_is_an_error(column, value):
    rows, whole = measured()
    part = rows[(rows["partition"] == "per-layer") | (rows[column] == value)]
    with pytest.raises(InputError, match="single and the per-layer SAEs were probed for other"):
        probing_table(ARMS, part, whole)


def test_words_and_figure_say_worse_only_where_the_interval_does(tmp_path):
    for loss, word, finding in (
        ((0.1, 0.2, 0.3), "undecided", "0 are shown to do better, 0 worse"),
        ((0.1, 0.11, 0.12), "worse", "0 are shown to do better, 1 worse"),
    ):
        table = probing_table(ARMS, *measured(loss))
        arms = table[table["label"] == "all"].drop_duplicates("arm")
        arms = arms.assign(
            chosen=arms["arm"] == "single", within_margins=True, excess_fvu_validation=0.0
        )
        said = text.paragraph(Findings({"probing": table, "arms": arms}, {}, {}, {}))
        assert word in said
        assert "0.680, 0.710 with full per-layer SAEs" in said
        assert finding in drawn(table)
    assert text.line(Findings({"probing": table}, {}, {}, {})) == ""


def test_each_of_several_random_draws_has_a_place_of_its_own():
    clusters = (("base", "0"), ("base", "1-2"))
    draws = [
        Arm(name, "base", "random", 2, 2, "control", clusters)
        for name in ("random-2", "random-2.1")
    ]
    rows, whole = measured()
    shared = rows["partition"] == "single"
    copies = [rows[shared].assign(partition=each.partition) for each in draws]
    copies[1]["accuracy"] -= 0.1
    table = probing_table([*ARMS, *draws], pd.concat([rows, *copies]), whole)
    table["n_layers"] = 3
    axis = figure.draw(table, "m").axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    found = [line.lines[0].get_xydata()[0] for line in axis.containers]
    by_name = {names[int(place)]: accuracy for accuracy, place in found}
    assert len(by_name) == len(names) == 4
    expected = table[(table["label"] == "all") & (table["k"] == 1)].set_index("arm")["accuracy"]
    assert by_name["2 shared SAEs, random at 66.7 %"] == expected["random-2"]
    assert by_name["2 shared SAEs, random (draw 2) at 66.7 %"] == expected["random-2.1"]
