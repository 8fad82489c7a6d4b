"""A text that cannot be read, or not as it is asked for, is refused before any job."""

import bz2
import gzip
import lzma
import os
import re
from pathlib import Path

import pytest
import yaml
from configurations import bare_model, language_models, load
from snakemake_project import TINY, merged

from clustersae.runtime.errors import InputError


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """The tiny experiment in a folder with its text, by several names, and a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    (tmp_path / "other.txt").write_text("Once upon a time.")
    (tmp_path / "prompts.jsonl").touch()
    os.link("text.txt", "hard.txt")
    os.symlink("text.txt", "soft.txt")
    bare_model(tmp_path / "llama", {"num_hidden_layers": 4, "hidden_size": 8})
    return yaml.safe_load(TINY.read_text())


def under_study(corpus):
    return {"models": {"tiny": {"trained": None, "path": "llama", "corpus": corpus}}}


def trained_here(corpus):
    return {"language_models": {"tiny": {"corpus": corpus}}}


SECTIONS = [(under_study, load), (trained_here, language_models)]
both = pytest.mark.parametrize(("section", "read"), SECTIONS, ids=["models", "language_models"])


@both
@pytest.mark.parametrize("again", ["text.txt", "./text.txt", "hard.txt", "soft.txt"])
def test_a_file_that_is_read_twice_is_refused(config, section, read, again):
    files = ["other.txt", "text.txt", again]
    said = f"corpus.files: text.txt and {again} are the same file, and what is held out"
    with pytest.raises(InputError, match=re.escape(said)):
        read(merged(config, section({"source": "text", "files": files})))


@both
def test_two_files_may_say_the_same(config, section, read):
    read(merged(config, section({"source": "text", "files": ["other.txt", "text.txt"]})))


@both
@pytest.mark.parametrize("source", ["text", "jsonl"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_refused_whatever_its_encoding(config, section, read, source, pack):
    Path("packed").write_bytes(pack(b"Once upon a time."))
    given = {"source": source, "files": ["text.txt", "packed"], "encoding": "latin-1"}
    kind = pack.__module__.removeprefix("_").replace("bz2", "bzip2").replace("lzma", "xz")
    with pytest.raises(InputError, match=rf"corpus\.files: packed is no text but .* {kind}:"):
        read(merged(config, section(given)))


@both
def test_a_dataset_that_is_a_file_is_refused(config, section, read):
    given = {"source": "dataset", "dataset": "text.txt", "files": []}
    with pytest.raises(InputError, match=r"corpus\.dataset: text\.txt is a file: put it into"):
        read(merged(config, section(given)))


@both
@pytest.mark.parametrize("encoding", ["utf8-mb4", "hex", "undefined", "ut\0f", ""])
def test_what_is_no_encoding_is_refused(config, section, read, encoding):
    corpus = {"source": "text", "files": ["text.txt"], "encoding": encoding}
    with pytest.raises(InputError, match=re.escape(f"corpus.encoding: there is no {encoding!r}.")):
        read(merged(config, section(corpus)))


@both
@pytest.mark.parametrize(
    ("source", "key", "value", "owners"),
    [
        ("dataset", "files", ["nix.txt"], "text or jsonl"),
        ("dataset", "encoding", "latin-1", "text or jsonl"),
        ("jsonl", "separator", "---", "text"),
        ("text", "field", "story", "jsonl or dataset"),
        ("text", "dataset", "a/b", "dataset"),
        ("jsonl", "subset", "small", "dataset"),
        ("text", "split", "test", "dataset"),
        ("text", "revision", "main", "dataset"),
    ],
)
def test_a_key_of_another_source_is_refused(config, section, read, source, key, value, owners):
    own = {"dataset": {"dataset": "x"}}.get(source, {"files": ["text.txt"]})
    given = {**{"files": [], "source": source}, **own, key: value}
    said = f"corpus.{key} is for a corpus of source {owners}, and this is of source {source}: take"
    with pytest.raises(InputError, match=re.escape(said)):
        read(merged(config, section(given)))
    given[key] = {"files": [], "field": "text", "split": "train", "encoding": "utf-8"}.get(key)
    read(merged(config, section(given)))  # at its default it says nothing


@pytest.mark.parametrize(
    ("source", "key", "value"),
    [
        ("toy-english", "files", ["text.txt"]),
        ("toy-english", "max_tokens", 99),
        ("toy-english", "fractions", {"test": 0.2}),
        ("toy-english", "name", "text8"),
        ("text", "rows", {"test": 9}),
        ("text", "seed", 1),
        ("text", "path", "text.txt"),
        ("named", "fractions", {"test": 0.2}),
        ("named", "split", "test"),
    ],
)
def test_a_key_of_another_source_is_refused_where_models_are_trained(config, source, key, value):
    own = {"text": {"files": ["text.txt"]}, "named": {"name": "text8"}}.get(source, {})
    corpus = {"source": source, **own}
    config["language_models"]["tiny"]["corpus"] = corpus
    language_models(config)
    corpus[key] = value
    with pytest.raises(InputError, match=rf"corpus\.{key} is for a corpus of source"):
        language_models(config)
