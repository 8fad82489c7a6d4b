"""Every ready configuration passes the checks that come before any job."""

import json
from pathlib import Path

import pytest
import yaml

from clustersae import config

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
#: config.json of the local models that presets ask their user to put in place.
LOCAL_MODELS = {"stories260k": {"num_hidden_layers": 5, "hidden_size": 64}}


def put_in_place(given):
    """Stand-ins below the current folder for the texts and models that a preset asks for."""
    for model in given["models"].values():
        for name in model["corpus"].get("files", []):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("Once upon a time.")
        if model["source"] == "local":
            folder = Path(model["path"])
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps(LOCAL_MODELS[folder.name]))


@pytest.mark.parametrize(
    "path",
    [ROOT / "config.yaml", *sorted((ROOT / "workflow" / "presets").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_a_ready_configuration_is_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    put_in_place(given)
    models = config.load(given, SCHEMA)
    for settings in models.values():
        n_rows = settings["activations"]["tokens"]
        assert settings["sae"]["tokens"] >= settings["sae"]["batch_size"]
        assert n_rows["train"] > n_rows["test"]
        assert len(settings["sae"]["seeds"]) >= 3, "a result needs three seeds"
