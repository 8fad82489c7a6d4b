"""A text that cannot be read, or not as it is asked for, is refused before any job."""

import os
import re

import pytest
import yaml
from configurations import language_models, load
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
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text('{"num_hidden_layers": 4, "hidden_size": 8}')
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
@pytest.mark.parametrize("encoding", ["utf8-mb4", "hex", "undefined", "ut\0f", ""])
def test_what_is_no_encoding_is_refused(config, section, read, encoding):
    corpus = {"source": "text", "files": ["text.txt"], "encoding": encoding}
    with pytest.raises(InputError, match=re.escape(f"corpus.encoding: there is no {encoding!r}.")):
        read(merged(config, section(corpus)))
