"""The script as a job runs it: from a corpus to a model directory, also when it is killed."""

import json

import build_corpus
import pytest
import torch
import train_model
from killed import Killed
from snakemake_project import words
from tiny_training import SETTINGS
from transformers import AutoModelForCausalLM, AutoTokenizer

from clustersae.corpora.build import CorpusFiles
from clustersae.runtime.checkpoint import Checkpoint

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
SPLITS = ("train", "validation", "test")
ARCHITECTURE = {"n_layers": 2, "d_model": 16, "n_heads": 2, "bias": False}
TRAINING = {**SETTINGS, "dropout": 0.1, "dtype": "float32", "compile": False}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text.txt").write_text(words(3000))
    files = CorpusFiles(
        *(folder / f"{split}.safetensors" for split in SPLITS), folder / "corpus.json"
    )
    settings = {
        **{"source": "text", "files": [str(folder / "text.txt")], "separator": None},
        **{"field": "text", "max_tokens": None, "encoding": "utf-8"},
        "fractions": {"validation": 0.1, "test": 0.1},
    }
    tokenizer = [folder / name for name in TOKENIZER]
    build_corpus.main(files, *tokenizer, None, settings, n_ctx=16, asked={})
    return files


def run(corpus, folder, code="code", **training):
    train_model.main(
        *(corpus.train, corpus.validation, [corpus.summary.parent / name for name in TOKENIZER]),
        *(folder, folder / "training.json"),
        architecture=ARCHITECTURE,
        training={**TRAINING, **training},
        check_tasks=False,
        on=torch.device("cpu"),
        code=code,
    )
    return json.loads((folder / "training.json").read_text())


@pytest.fixture
def killed(monkeypatch):
    """Jobs save after every step, and the first dies after its seventh."""

    def kill_at_seven(self, trainer, history):
        self.save(trainer, history)
        if trainer.step_number == 7:
            raise Killed

    def kill(corpus, folder):
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoint, "__call__", kill_at_seven)
            with pytest.raises(Killed):
                run(corpus, folder)

    return kill


def test_a_directory_that_transformers_and_the_steps_after_it_read(corpus, tmp_path):
    record = run(corpus, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer("the cat sat")["input_ids"]) == "the cat sat"
    assert model.num_parameters() == record["n_parameters"]
    assert record["validation_loss"] == min(each["validation_loss"] for each in record["curve"])
    assert record["resumed_at_step"] == 0


def test_a_killed_job_goes_on_and_writes_the_same_bits(corpus, tmp_path, killed):
    whole = run(corpus, tmp_path / "whole")
    killed(corpus, tmp_path / "killed")
    left = [path.name for path in (tmp_path / "killed").iterdir()]
    assert left == ["checkpoint.safetensors"]  # nothing half-made under a real name
    record = run(corpus, tmp_path / "killed")
    assert record["resumed_at_step"] == 7
    assert record["curve"] == whole["curve"]
    assert record["train_losses"] == whole["train_losses"]
    assert record["seconds"] > 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("change", [{"code": "other"}, {"weight_decay": 0.2}])
def test_a_killed_job_of_other_code_or_settings_begins_anew(corpus, tmp_path, killed, change):
    killed(corpus, tmp_path)
    assert run(corpus, tmp_path, **change)["resumed_at_step"] == 0
