"""The tiny experiment as a configuration, for tests of what may stand in one."""

import pytest
import yaml
from snakemake_project import TINY


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The tiny experiment in a folder with its text, an empty file and two model directories."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    (tmp_path / "prompts.jsonl").touch()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    for name, content in {
        "llama": '{"num_hidden_layers": 4, "hidden_size": 8}',
        "broken": '{"num_hidden_layers": ',
        "of-two": '{"text_config": "x"}',
        "endless": '{"n_layer": 2000000000}',
        "flat": '{"num_hidden_layers": 4, "hidden_size": 0}',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    return yaml.safe_load(TINY.read_text())
