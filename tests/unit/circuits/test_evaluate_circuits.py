"""The script on a tiny model: every seed's SAEs alone."""

from pathlib import Path

import evaluate_circuits
import pandas as pd
import pytest
import torch
from held_saes import Held
from language_models import D_MODEL, N_LAYERS, VOCAB_SIZE, save_tiny_model, write_description
from sae_settings_of import topk_settings
from tiny_circuits import random_pairs, random_sae

from clustersae.circuits.dictionaries import dictionaries_of
from clustersae.circuits.measuring import CircuitSettings, measure_circuits
from clustersae.circuits.recording import record, run_clean
from clustersae.circuits.storage import load_recordings, save_recordings
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.sae.storage import load_sae, save_sae

D_SAE, K = 16, 3
CPU = torch.device("cpu")
SETTINGS = {"sizes": 4, "errors": ["ablated"], "ablations": ["mean"], "exact_nodes": 3}


@pytest.fixture
def stream(tmp_path):
    model = save_tiny_model("gpt2", tmp_path / "model")
    write_description(model, model / "description.json", "here")
    description = read_description(model)
    return ResidualStream(load_model(model, description, CPU), description)


@pytest.fixture
def recordings(stream, tmp_path):
    pairs = [random_pairs(4, 6, VOCAB_SIZE, seed, first=1) for seed in (1, 2)]
    path = tmp_path / "recordings.safetensors"
    fingerprint = read_description(tmp_path / "model").fingerprint
    save_recordings(path, [record(stream, pairs[0])], [run_clean(stream, pairs[1])], fingerprint)
    return path


def write_saes(folder: Path) -> list[Path]:
    """Two seeds of a shared SAE and a lone one, the later seed first."""
    fingerprint = read_description(folder / "model").fingerprint
    saes = []
    for layers in (tuple(range(1, N_LAYERS)), (0,)):
        for seed in (1, 0):
            saes.append(folder / f"{layers[0]}-{seed}")
            sae = random_sae(layers, D_MODEL, D_SAE, K, seed)
            save_sae(saes[-1], sae, topk_settings(D_SAE, K, seed=seed), "base", fingerprint)
    return saes


def test_seeds_are_measured_one_after_the_other(stream, recordings, tmp_path, monkeypatch):
    saes = write_saes(tmp_path)
    outputs = [tmp_path / f"{name}.csv" for name in ("curves", "prompts", "nodes")]
    held = Held(monkeypatch, evaluate_circuits)
    evaluate_circuits.main(
        tmp_path / "model", recordings, saes, "a task", "base", "even-2", outputs, SETTINGS, CPU
    )
    assert held.most == 2, "a seed's"
    tables = [pd.read_csv(path) for path in outputs]
    read = load_recordings(recordings, read_description(tmp_path / "model").fingerprint)
    settings = CircuitSettings(**SETTINGS)
    for seed, own in ((0, [saes[1], saes[3]]), (1, [saes[0], saes[2]])):
        dictionaries = dictionaries_of([load_sae(folder) for folder in own])
        expected = measure_circuits(stream, dictionaries, *read, settings, seed)
        for table, rows in zip(tables, expected):
            found = table[table["seed"] == seed].reset_index(drop=True)
            pd.testing.assert_frame_equal(found[list(rows[0])], pd.DataFrame(rows))
    for table in tables:
        assert table["seed"].is_monotonic_increasing
        assert (table[["task", "variant", "partition"]] == ["a task", "base", "even-2"]).all(None)
