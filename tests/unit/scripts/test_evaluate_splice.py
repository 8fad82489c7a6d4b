"""What the scripts write of SAEs spliced into a model: layer by layer, and all at once."""

import csv
import json
import math

import evaluate_language_model
import evaluate_splice
import pytest
import torch
from held_saes import Held
from language_models import (
    BOS,
    D_MODEL,
    N_LAYERS,
    VOCAB_SIZE,
    padded_tokens,
    save_tiny_model,
    token_file,
    write_description,
)
from sae_settings_of import topk_settings

from clustersae.activations.mask import NormLimits, save_limits
from clustersae.activations.statistics import Statistics, save_statistics
from clustersae.corpora.tokens import write_tokens
from clustersae.models.anatomy import describe
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.architectures.crosscoder import Crosscoder
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae

D_SAE, K = 32, 4


@pytest.fixture
def mean():
    return torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(3)).double()


@pytest.fixture
def results(tmp_path, mean):
    """What the scripts read: model, tokens, statistics, and SAEs of two seeds and two clusters."""
    model_dir = save_tiny_model("gpt2", tmp_path / "model")
    write_description(model_dir, model_dir / "description.json", "here")
    write_tokens(tmp_path / "tokens.safetensors", token_file(padded_tokens(), VOCAB_SIZE, BOS))
    fingerprint = describe(model_dir, "here").fingerprint
    ones = torch.ones(N_LAYERS)
    statistics = Statistics(mean, ones, ones.clone(), 9, torch.ones_like(mean))
    save_statistics(tmp_path / "statistics.safetensors", statistics, fingerprint, range(N_LAYERS))
    limits = NormLimits(tuple(range(N_LAYERS)), ones, None, mean.float(), 1.0, 9, fingerprint)
    save_limits(tmp_path / "norms.safetensors", limits)
    for seed in (0, 1):
        for layers in ((0, 1), (2,)):
            sae = TopK(layers, D_SAE, K, mean[list(layers)], torch.ones(len(layers)))
            sae.initialise(torch.Generator().manual_seed(seed))
            folder = tmp_path / "saes" / f"{layers[0]}" / f"{seed}"
            save_sae(folder, sae, topk_settings(D_SAE, K, seed=seed), "base", fingerprint)
    return tmp_path


def run_scripts(results, saes, n_tokens=80):
    """Rows of each layer alone, and rows of all layers at once."""
    where = torch.device("cpu")
    table = results / "language_model.csv"
    evaluate_language_model.main(
        results / "model", results / "tokens.safetensors", results / "statistics.safetensors",
        results / "norms.safetensors", table, n_tokens, 4, where,
    )  # fmt: skip
    return splice(results, saes, n_tokens)


def splice(results, saes, n_tokens, variant="base"):
    outputs = results / "layers.csv", results / "all.csv"
    evaluate_splice.main(
        results / "model", results / "tokens.safetensors", results / "language_model.csv",
        results / "norms.safetensors", saes, variant, "even-2", *outputs, n_tokens, 4,
        torch.device("cpu"),
    )  # fmt: skip
    tables = []
    for path in outputs:
        with open(path, newline="") as file:
            tables.append(list(csv.DictReader(file)))
    return tables


def folders(results, clusters="02", seeds="01"):
    return [results / "saes" / cluster / seed for cluster in clusters for seed in seeds]


def test_one_row_per_seed_and_layer_and_one_per_seed_for_all_layers(results):
    rows, together = run_scripts(results, folders(results))
    assert [(row["cluster"], row["seed"], row["layer"]) for row in rows] == [
        ("0-1", "0", "0"), ("0-1", "0", "1"), ("0-1", "1", "0"), ("0-1", "1", "1"),
        ("2", "0", "2"), ("2", "1", "2"),
    ]  # fmt: skip
    assert [row["seed"] for row in together] == ["0", "1"]
    for row in (*rows, *together):
        assert (row["variant"], row["partition"]) == ("base", "even-2")
        assert float(row["delta_ce"]) == float(row["ce_spliced"]) - float(row["ce_clean"])
        assert float(row["kl"]) > 0
        assert math.isfinite(float(row["ce_recovered_mean"]))
        assert row["n_tokens"] == "80"
    for row in together:
        assert math.isfinite(float(row["ce_spliced_bounded"]))
        assert float(row["ce_spliced_bounded"]) != float(row["ce_spliced"])


def test_with_a_crosscoder_nothing_is_said_of_all_layers_at_once(results, mean):
    """Its code is that of the clean pass, in which errors below a layer do not add up."""
    saes = []
    fingerprint = describe(results / "model", "here").fingerprint
    for seed in (0, 1):
        sae = Crosscoder((0, 1), D_SAE, K, mean[:2], torch.ones(2))
        sae.initialise(torch.Generator().manual_seed(seed))
        saes.append(results / "crosscoder" / str(seed))
        own = topk_settings(D_SAE, K, seed=seed, layers_at_once=2)
        save_sae(saes[-1], sae, own, "crosscoder-1of2", fingerprint)
    rows, together = run_scripts(results, [*saes, *folders(results, clusters="2")])
    assert [(row["cluster"], row["layer"]) for row in rows[:2]] == [("0-1", "0"), ("0-1", "1")]
    assert all(float(row["kl"]) > 0 for row in rows)
    assert len(rows) == 2 * N_LAYERS
    assert [row["seed"] for row in together] == ["0", "1"]
    for row in together:
        assert math.isfinite(float(row["ce_clean"]))
        names = ("ce_spliced", "delta_ce", "ce_recovered_zero", "ce_recovered_mean", "kl")
        for name in (*names, "ce_spliced_bounded"):
            assert math.isnan(float(row[name]))


def test_the_saes_may_come_in_any_order(results):
    expected = run_scripts(results, folders(results))
    found = splice(results, folders(results, clusters="20", seeds="10"), 80)

    def losses(rows):
        return {(row["seed"], row.get("layer")): float(row["ce_spliced"]) for row in rows}

    for one, other in zip(expected, found):
        assert losses(one) == pytest.approx(losses(other))


def test_large_saes_are_read_seed_by_seed_and_nothing_else_changes(results, monkeypatch):
    saes = folders(results, clusters="20", seeds="10")
    held = Held(monkeypatch, evaluate_splice)
    run_scripts(results, saes)
    assert held.most == 4, "small SAEs of all seeds share the pass over the text"
    expected = [(results / name).read_bytes() for name in ("layers.csv", "all.csv")]
    largest = sum((each / "sae.safetensors").stat().st_size for each in folders(results, seeds="0"))
    for room in (1, largest, 2 * largest - 1):
        monkeypatch.setattr(evaluate_splice, "SHARED_BYTES", room)
        held = Held(monkeypatch, evaluate_splice)
        splice(results, saes, 80)
        assert held.most == 2, "those of one seed"
        found = [(results / name).read_bytes() for name in ("layers.csv", "all.csv")]
        assert found == expected


def test_rows_of_a_layer_have_the_variant_of_the_sae_and_those_of_all_that_of_the_arm(results):
    """An arm of equal exposure holds the base SAEs of single layers."""
    run_scripts(results, folders(results, seeds="0"))
    rows, together = splice(results, folders(results, seeds="0"), 80, "equal-exposure")
    assert {row["variant"] for row in rows} == {"base"}
    assert {row["variant"] for row in together} == {"equal-exposure"}


def test_a_partition_with_a_missing_sae_is_refused(results):
    saes = [*folders(results, seeds="0"), *folders(results, clusters="0", seeds="1")]
    with pytest.raises(InputError, match=r"even-2, seed 1, serve the layers \[0, 1\] instead"):
        run_scripts(results, saes)


@pytest.mark.parametrize(
    ("dtype", "same", "other"), [("float32", 5e-4, 0.01), ("bfloat16", 0.02, 0.1)]
)
def test_rounding_on_another_gpu_makes_no_other_model(results, dtype, same, other):
    path, saes = results / "model" / "description.json", folders(results, seeds="0")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": dtype}))
    run_scripts(results, saes)
    table = results / "language_model.csv"
    written = list(csv.DictReader(table.read_text().splitlines()))
    for off in (same, other):
        written[0]["ce"], clean = float(written[0]["ce"]) + off, float(written[0]["ce"])
        write_csv(table, written)
        written[0]["ce"] = clean
        if off == same:
            splice(results, saes, 80)
    with pytest.raises(InputError, match="another text or model"):
        splice(results, saes, 80)


def test_a_table_of_other_text_is_refused(results):
    saes = folders(results, seeds="0")
    run_scripts(results, saes)
    with pytest.raises(InputError, match=r"language_model\.csv gives the untouched model"):
        splice(results, saes, 20)
