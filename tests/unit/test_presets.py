"""Every ready configuration passes the checks that come before any job."""

from pathlib import Path

import pytest
import yaml

from clustersae import config

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


@pytest.mark.parametrize(
    "path",
    [ROOT / "config.yaml", *(ROOT / "workflow" / "presets").glob("*.yaml")],
    ids=lambda path: path.stem,
)
def test_a_ready_configuration_is_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    models = config.load(yaml.safe_load(path.read_text(encoding="utf-8")), SCHEMA)
    for settings in models.values():
        n_rows = settings["activations"]["tokens"]
        assert settings["sae"]["tokens"] >= settings["sae"]["batch_size"]
        assert n_rows["train"] > n_rows["test"]
        assert len(settings["sae"]["seeds"]) >= 3, "a result needs three seeds"
