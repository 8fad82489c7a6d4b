"""What `models.NAME.path` may name."""

import re

import pytest

from clustersae.experiment.sources import check_complete, gguf_file
from clustersae.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("one.gguf", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_gguf_file_or_the_folder_of_one_is_found(folder):
    assert gguf_file(folder / "one.gguf") == folder / "one.gguf"
    assert gguf_file(folder) == folder / "one.gguf"


def test_a_hugging_face_directory_is_one_whatever_else_lies_in_it(folder):
    (folder / "config.json").touch()
    assert gguf_file(folder) is None


def test_of_several_files_one_must_be_named(folder):
    (folder / "two.gguf").touch()
    message = f"holds 2 GGUF files. Give the path of one of them, such as {folder / 'one.gguf'}."
    with pytest.raises(InputError, match=re.escape(message)):
        gguf_file(folder)


def test_an_adapter_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(InputError, match=r"holds an adapter .* merge_and_unload"):
        gguf_file(tmp_path)


@pytest.mark.parametrize("inside", ["checkpoint-2", "snapshots/0a1b"])
def test_a_folder_of_model_directories_is_told_which_to_give(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "config.json").touch()
    with pytest.raises(InputError, match=re.escape(f"but {tmp_path / inside} has one: give the")):
        gguf_file(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["tokenizer.json"], "the weights are missing"),
        (["tokenizer.json", "pytorch_model.bin"], "as pickle only"),
        (
            ["tokenizer.json", "model-00001-of-00001.safetensors"],
            r"but model-00001-of-00001\.safetensors: rename it to model\.safetensors",
        ),
        (["model.safetensors"], r"no tokenizer\.json"),
        (["model.safetensors.index.json", "vocab.json"], r"no tokenizer\.json"),
    ],
)
def test_a_directory_that_lacks_a_part_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        check_complete(tmp_path)


def test_other_files_and_what_is_not_there_are_refused(folder):
    (folder / "empty").mkdir()
    for name, message in {
        "notes.txt": "is a file, but no GGUF file",
        "no": "is not a directory",
        "empty": r"has no config\.json",
    }.items():
        with pytest.raises(InputError, match=message):
            gguf_file(folder / name)
