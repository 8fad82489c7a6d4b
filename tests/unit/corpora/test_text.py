import json
import urllib.error

import httpx
import numpy as np
import pandas as pd
import pytest

from clustersae.corpora import text
from clustersae.corpora.text import (
    Continued,
    dataset_documents,
    dataset_tokens,
    jsonl_documents,
    pieces_of,
    text_documents,
    text_pieces,
)
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
        ('{"text": 5}', r"line 3: 'text' is 5, not text\. Correct"),
        ('{"text": null}', r"line 3: 'text' is null, not text\. Correct"),
        ('["text"]', r"line 3: no JSON object, .* give that folder as a dataset"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = written(tmp_path, f'{{"text": "a"}}\n\n{line}\n', "a.jsonl")
    stream = jsonl_documents([path], "text")
    assert next(stream) == "a"  # what comes before it can be read
    with pytest.raises(InputError, match=message):
        next(stream)


WORDS = "Grüße aus Łódź\r\n\r\nend\rand 🙂\n"
READ = "Grüße aus Łódź\n\nend\nand 🙂\n"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "gb18030")


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_of_any_encoding_and_line_ends(tmp_path, monkeypatch, encoding, chunk):
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    path = written(tmp_path, WORDS.encode(encoding))
    assert "".join(text_pieces(path, encoding)) == READ
    for separator in ("\n\n", "\r\n\r\n"):
        documents = ["Grüße aus Łódź", "end\nand 🙂\n"]
        assert list(text_documents([path], separator, encoding)) == documents
    line = json.dumps({"text": READ}, ensure_ascii=False)
    lines = written(tmp_path, f"{line}\r\n{line}\r\n".encode(encoding), "a.jsonl")
    assert list(jsonl_documents([lines], "text", encoding)) == [READ, READ]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
@pytest.mark.parametrize("said", ["utf-8", "latin-1", "utf-16-le"])
def test_a_byte_order_mark_says_better(tmp_path, mark, said):
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    path = written(tmp_path, mark + WORDS.encode(encoding))
    assert "".join(text_pieces(path, said)) == READ


def test_the_encoding_is_the_remedy_for_text_that_is_not_utf8(tmp_path):
    path = written(tmp_path, "Grüße".encode("latin-1"), "a b's.txt")
    told = r"\(byte 2: .*\)\. Name its encoding in corpus\.encoding .* iconv .* 'a b'\"'\"'s\.txt'"
    with pytest.raises(InputError, match=told):
        list(text_pieces(path))
    assert list(text_documents([path], None, "latin-1")) == ["Grüße"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_parquet_is_named_and_read_from_the_folder_that_is_the_remedy(tmp_path, encoding):
    path = tmp_path / "folder" / "rows.parquet"
    path.parent.mkdir()
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(path)
    with pytest.raises(InputError, match=r"is no text but a Parquet file: .* a folder of its own"):
        list(text_documents([path], None, encoding))
    assert list(dataset_documents(str(path.parent), "train", "text")) == ["one", "two"]


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", ""])
def test_an_encoding_that_does_not_exist_is_named(tmp_path, encoding):
    with pytest.raises(InputError, match=f"corpus.encoding: there is no {encoding!r}"):
        list(text_pieces(written(tmp_path, "a"), encoding))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_characters_without_a_mark_are_no_utf8(tmp_path, encoding):
    with pytest.raises(InputError, match=r"NUL in every few bytes.* corpus\.encoding: utf-16-le"):
        list(text_pieces(written(tmp_path, "plain words".encode(encoding))))


@pytest.mark.parametrize("separator", ["<|end|>", "\n\n\n", "x" * 50])
def test_a_separator_that_never_occurs_is_refused(tmp_path, separator):
    paths = [written(tmp_path, "one\n\ntwo", name) for name in ("a.txt", "b.txt")]
    with pytest.raises(
        InputError, match=r"corpus\.separator .* not occur in .*a\.txt, .*b\.txt: c"
    ):
        list(text_documents(paths, separator))
    other = written(tmp_path, f"one{separator}two", "c.txt")
    assert len(list(text_documents([*paths, other], separator))) == 4


def joined(pieces):
    """Whole documents, each with its pieces."""
    documents = []
    for piece in pieces:
        if not isinstance(piece, Continued):
            documents.append([])
        documents[-1].append(piece)
    return documents


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("separator", [None, "<|end|>"])
def test_long_documents_come_in_pieces(tmp_path, monkeypatch, chunk, separator):
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(text, "PIECE_CHARACTERS", 20)
    long = "".join(f"line {number} of it\n" for number in range(40)) + "x" * 90 + " end"
    content = f"{long}<|end|>short<|end|>  <|end|>{long}"
    found = joined(text_documents([written(tmp_path, content)], separator))
    whole = [content] if separator is None else [long, "short", long]
    assert ["".join(pieces) for pieces in found] == whole
    assert max(len(piece) for pieces in found for piece in pieces) <= 20 + len("<|end|>")
    assert all(piece.endswith("\n") for piece in found[0][:20])


@pytest.mark.parametrize(
    ("document", "pieces"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("0123456789", ["0123456789"]),
        ("0123456789a", ["0123456789", "a"]),
        ("one two three four", ["one two", " three", " four"]),
        ("one two\nthree four", ["one two\n", "three four"]),
        ("one two\n\nthree four", ["one two", "\n\nthree", " four"]),
    ],
)
def test_pieces_end_where_tokens_do(monkeypatch, document, pieces):
    monkeypatch.setattr(text, "PIECE_CHARACTERS", 10)
    assert "".join(pieces) == document
    assert "".join(pieces_of(document)) == document
    assert list(pieces_of(document)) == pieces
    continued = [isinstance(piece, Continued) for piece in pieces_of(document)]
    assert continued == [False, *[True] * (len(pieces) - 1)]


BAD_LINES = [
    "{",
    "}{",
    '{"text": "a"} {"text": "b"}',
    "{'text': 'a'}",
    '{"text": "a",}',
    '{"text": "a\tb"}',
    '[{"text": "a"},',
    "null",
    '{"text": null}',
    '{"text": ["a"]}',
    '{"text": "\\ud83d"}',
    "[" * 100_000,
]


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_half_broken_json_lines_are_named_by_file_and_line(tmp_path, line):
    path = written(tmp_path, f'{{"text": "a"}}\n{line}\n{{"text": "b"}}', "a b.jsonl")
    with pytest.raises(InputError, match=r"a b\.jsonl, line 2: .*(Correct|Set)") as caught:
        list(jsonl_documents([path], "text"))
    assert "\n" not in str(caught.value)


def test_a_line_may_have_many_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "CHUNK_BYTES", 3)
    path = written(tmp_path, json.dumps({"text": "long " * 500}))
    assert list(jsonl_documents([path], "text")) == ["long " * 500]


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


@pytest.mark.parametrize("kind", ["flat", "files"])
def test_rows_that_are_null_are_left_out(tmp_path, kind):
    datasets = pytest.importorskip("datasets")
    rows = {"body": [None, "eins", None], "ids": [[1, 2], None, [3]]}
    table = datasets.Dataset.from_dict(rows)
    if kind == "flat":
        table.save_to_disk(tmp_path)
    else:
        table.to_parquet(tmp_path / "train.parquet")
    assert list(dataset_documents(str(tmp_path), "train", "body")) == ["eins"]
    assert [ids.tolist() for ids in dataset_tokens(str(tmp_path), "train", "ids")] == [[1, 2], [3]]
    for read in (dataset_documents, dataset_tokens):
        with pytest.raises(InputError, match="Its columns are body, ids: set"):
            list(read(str(tmp_path), "train", "text"))


def test_a_column_that_is_not_there_is_named_with_those_that_are(saved_dataset):
    with pytest.raises(InputError, match=r"no text in column 'text'. Its columns are body, n"):
        list(dataset_documents(str(saved_dataset / "flat"), "train", "text"))


def test_token_ids_of_a_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    ids = [[5, 6, 7], [], [8]]  # a row may be empty
    table = datasets.Dataset.from_dict({"tokens": ids, "text": ["a", "", "b"]})
    table.save_to_disk(tmp_path / "rows")
    place = str(tmp_path / "rows")
    found = list(dataset_tokens(place, "train", "tokens"))
    assert [ids.tolist() for ids in found] == [[5, 6, 7], [8]]
    assert {ids.dtype for ids in found} == {np.dtype(np.int32)}
    for column in ("text", "ids"):
        with pytest.raises(InputError, match=rf"no token ids in column '{column}'.* tokens, text"):
            next(dataset_tokens(place, "train", column))
    with pytest.raises(InputError, match=r"holds token ids, write corpus\.tokenised: true\."):
        next(dataset_documents(place, "train", "tokens"))


@pytest.mark.parametrize("kind", ["dict", "files"])
def test_a_split_that_is_not_there_is_named(saved_dataset, kind):
    with pytest.raises(InputError, match=r"cannot be read .*train.*check corpus\.dataset"):
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
