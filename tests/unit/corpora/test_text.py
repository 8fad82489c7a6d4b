import json
import urllib.error

import httpx
import pytest

from clustersae.corpora import text
from clustersae.corpora.text import dataset_documents, jsonl_documents, text_documents, text_pieces
from clustersae.runtime.errors import InputError

ODD = "é🙂 ab\n\nü<|end|>\n<|end|>zweite Ü<|end|>"


def written(folder, content, name="a.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1000])
def test_text_is_the_same_however_it_is_read(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    path = written(tmp_path, ODD)
    assert "".join(text_pieces(path)) == ODD
    assert list(text_documents([path, path], None)) == [ODD, ODD]
    documents = ["é🙂 ab\n\nü", "zweite Ü"]  # blank documents are none
    assert list(text_documents([path, path], "<|end|>")) == documents * 2


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize(("before", "offset"), [("", 0), ("abcé", 5), ("x" * 9, 9)])
def test_the_first_byte_that_is_not_utf8_is_named(tmp_path, monkeypatch, chunk, before, offset):
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    path = written(tmp_path, before.encode() + b"\xff more")
    with pytest.raises(InputError, match=rf"a\.txt is not UTF-8 text \(byte {offset}: "):
        list(text_pieces(path))


def test_a_character_cut_off_at_the_end_is_named(tmp_path):
    path = written(tmp_path, b"ab\xc3")
    with pytest.raises(InputError, match=r"byte 2: unexpected end of data"):
        list(text_pieces(path))


def test_absent_empty_and_directory_are_named(tmp_path):
    with pytest.raises(InputError, match=r"b\.txt does not exist: correct corpus\.files"):
        list(text_documents([tmp_path / "b.txt"], None))
    with pytest.raises(InputError, match=r"a\.txt is empty: remove it"):
        list(text_documents([written(tmp_path, "")], None))
    with pytest.raises(InputError, match="is a directory: list its files"):
        list(jsonl_documents([tmp_path], "text"))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_json_lines(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    documents = ["one\ntwo", "é 🙂", ""]
    lines = [json.dumps({"id": 1, "body": document}) for document in documents]
    path = written(tmp_path, "\n\n".join(lines))  # a blank line between, none at the end
    assert list(jsonl_documents([path], "body")) == documents


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "b"', r"a\.jsonl, line 3: not valid JSON"),
        ('{"body": "b", "id": 1}', r"line 3: no text under 'text' \(its fields: body, id\)"),
        ('{"text": 5}', r"line 3: no text under 'text' \(its fields: text\)"),
        ('["text"]', r"line 3: no text under 'text' \(its fields: none: it is no object\)"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = written(tmp_path, f'{{"text": "a"}}\n\n{line}\n', "a.jsonl")
    stream = jsonl_documents([path], "text")
    assert next(stream) == "a"  # what comes before it can be read
    with pytest.raises(InputError, match=message):
        next(stream)


@pytest.fixture
def saved_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"body": ["eins", "zwei"], "n": [1, 2]})
    table.save_to_disk(tmp_path / "flat")
    datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "dict")
    (tmp_path / "files").mkdir()
    table.to_json(tmp_path / "files" / "train.jsonl")
    return tmp_path


@pytest.mark.parametrize("kind", ["flat", "dict", "files"])
def test_datasets_on_disk(saved_dataset, kind):
    documents = dataset_documents(str(saved_dataset / kind), "train", "body")
    assert list(documents) == ["eins", "zwei"]


def test_a_column_that_is_not_there_is_named_with_those_that_are(saved_dataset):
    with pytest.raises(InputError, match=r"no text in column 'text'. Its columns are body, n"):
        list(dataset_documents(str(saved_dataset / "flat"), "train", "text"))


@pytest.mark.parametrize("kind", ["dict", "files"])
def test_a_split_that_is_not_there_is_named(saved_dataset, kind):
    with pytest.raises(InputError, match=r"cannot be read .*check corpus\.dataset"):
        list(dataset_documents(str(saved_dataset / kind), "validation", "body"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("reset by peer\nsecond line"),
        TimeoutError("timed out"),
        httpx.ReadTimeout("timed out"),
        urllib.error.URLError("no route"),
    ],
)
def test_an_interrupted_download_is_one_line_with_a_remedy(monkeypatch, error):
    def rows(*_):
        yield {"text": "first"}
        raise error

    monkeypatch.setattr(text, "_dataset_rows", rows)
    stream = dataset_documents("org/name", "train", "text")
    assert next(stream) == "first"
    with pytest.raises(InputError, match="dataset org/name was interrupted") as caught:
        next(stream)
    assert "\n" not in str(caught.value)
    assert "run again" in str(caught.value)


def test_a_mistake_in_the_code_is_not_taken_for_the_network(monkeypatch):
    def rows(*_):
        yield 1 / 0

    monkeypatch.setattr(text, "_dataset_rows", rows)
    with pytest.raises(ZeroDivisionError):
        next(dataset_documents("org/name", "train", "text"))
