"""The tiny experiment as a configuration, for tests of what may stand in one."""

import pytest
import yaml
from configurations import bare_model
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
        "t5": '{"is_encoder_decoder": true}',
        "bert": '{"architectures": ["BertForMaskedLM"], "num_hidden_layers": 4, "hidden_size": 8}',
        "mpt": '{"n_layers": 4, "d_model": 8, "max_seq_len": 32}',
        "short": '{"n_layer": 4, "n_embd": 8, "n_positions": 32}',
        "flat": '{"num_hidden_layers": 4, "hidden_size": 0}',
    }.items():
        bare_model(tmp_path / name, content)
    bare_model(tmp_path / "pickled", {})
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    return yaml.safe_load(TINY.read_text())
