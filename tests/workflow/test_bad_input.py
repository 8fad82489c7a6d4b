"""What Snakemake shows for bad input: one message that names thing and remedy, and no leftovers."""

import re

import pytest
import torch
import yaml
from language_models import save_tiny_model, save_tiny_tokenizer
from safetensors.torch import load_file, save_file
from snakemake_project import UNSAID, merged

CORPUS = "results/language_models/tiny/corpus/corpus.json"
DESCRIPTION = "results/tiny/model/description.json"


def failure(project, target, **environment):
    """Run until a job fails; the message of that job, which must be all that it says."""
    command = ("--cores", "1", "--resources", "gpu=0", "--", target)
    result = project.snakemake(*command, **environment)
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stdout
    messages = re.findall(r"^error: (.*)$", result.stdout, re.MULTILINE)
    assert len(messages) == 1, result.stdout
    return messages[0]


def left_behind(project):
    """Files that are neither logs nor whole outputs of jobs that ended well."""
    return [file for file in project.files() if not file.startswith(("logs/", "benchmarks/"))]


def use_local_model(project):
    corpus = {"source": "text", "files": ["text.txt"], "n_ctx": 16}
    model = {"trained": None, "path": "model", "corpus": corpus}
    project.configure(models={"tiny": model})
    return save_tiny_model("gpt2", project.folder / "model")


def test_a_wrong_key_is_all_that_is_reported(fresh, refused):
    fresh.configure(sea={"k": 3})
    lines = refused().strip().splitlines()
    number = (fresh.folder / "config.yaml").read_text().splitlines().index("sea:") + 1
    assert lines[1] == (
        f"config.yaml, line {number}: unknown key 'sea' in the top level; allowed are activations,"
        " arms, browser, clustering, evaluation, exports, language_models, models, sae."
    )
    assert lines[0].startswith("WorkflowError in file ")
    assert len(lines) <= 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sae": {"k": 33}}, "sae.k is 33, more than the 32 latents"),
        (
            {"language_models": {"tiny": {"training": {"steps": 0}}}},
            "language_models.tiny.training.steps is 0, but must be at least 1",
        ),
    ],
)
def test_contradictions_stop_the_dry_run(fresh, refused, changes, message):
    """One of each schema; all others are in test_config and test_language_model_config."""
    config = yaml.safe_load((fresh.folder / "config.yaml").read_text())
    (fresh.folder / "wrong.yaml").write_text(yaml.safe_dump(merged(config, changes)))
    said = refused("--configfile", "wrong.yaml")
    assert message in said
    assert "Traceback" not in said


def test_a_missing_configfile_is_named(refused):
    assert "no.yaml" in refused("--configfile", "no.yaml")


def test_a_text_that_is_too_short(fresh):
    fresh.configure(language_models={"tiny": {"training": {"steps": 1}}})
    (fresh.folder / "text.txt").write_text("Once upon a time there was a cat. " * 40)
    message = failure(fresh, "results/tiny/activations/train/shard-0.safetensors")
    asks = r"train split has \d+ tokens and activations\.tokens\.train asks for 2000"
    assert re.search(asks, message)
    assert left_behind(fresh) == [], "found before the model was trained"


def test_a_named_corpus_that_is_neither_here_nor_to_be_had(fresh):
    fresh.configure(
        language_models={"tiny": {"corpus": {"source": "named", "name": "enwik8", **UNSAID}}}
    )
    fresh.configure(language_models={"tiny": {"corpus": {"cache": "texts"}}})
    message = failure(fresh, CORPUS)
    assert message == (
        f"Corpus enwik8 is not in {fresh.folder}/texts (HF_HUB_OFFLINE forbids a download). Ways"
        " out: unset it and run again; put enwik8 there by hand, from"
        " http://mattmahoney.net/dc/enwik8.zip; name the folder that holds it as corpus.cache or in"
        " CLUSTERSAE_DATA; or give a copy of it as corpus.path."
    )
    assert left_behind(fresh) == []
    assert not (fresh.folder / "texts").exists()


def test_a_named_corpus_that_was_damaged_in_the_cache(fresh):
    fresh.configure(
        language_models={"tiny": {"corpus": {"source": "named", "name": "text8", **UNSAID}}}
    )
    (fresh.folder / "text.txt").rename(fresh.folder / "text8")
    message = failure(fresh, CORPUS, CLUSTERSAE_DATA=str(fresh.folder))
    assert re.search(r"/text8 is not text8 as published \(md5 .*: delete it and run", message)
    assert left_behind(fresh) == []


def test_a_tokenizer_of_another_model(fresh):
    folder = use_local_model(fresh)
    save_tiny_tokenizer(folder, n_words=60)
    text = " ".join(f"w{number % 56}" for number in range(5000))
    (fresh.folder / "text.txt").write_text(text, encoding="utf-8")
    fresh.configure(models={"tiny": {"corpus": {"separator": " "}}})
    message = failure(fresh, "results/tiny/corpus/corpus.json")
    assert message.startswith("The text has the token 'w5")
    assert "but the model of results/tiny/model embeds only 50: take it out of the text" in message
    assert not any("corpus/" in file for file in left_behind(fresh))


def test_a_model_that_computes_nan(fresh):
    folder = use_local_model(fresh)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("h.1.mlp.c_fc.bias"))
    weights[name][3] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    message = failure(fresh, DESCRIPTION)
    assert "NaN or infinite activations at layer 1" in message
    assert left_behind(fresh) == []
