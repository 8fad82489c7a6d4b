"""Named corpora: every byte a token, in the published order and splits."""

import dataclasses
import hashlib
import json
from types import MappingProxyType

import numpy as np
import pytest
import torch
from build_corpus import main
from language_models import SHARED
from transformers import AutoTokenizer

from clustersae.corpora import characters
from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.named import NAMED, cache_folder
from clustersae.corpora.tokens import read_tokens
from clustersae.pretraining import corpus as module
from clustersae.pretraining.corpus import build
from clustersae.runtime.errors import InputError

SHAKESPEARE = SHARED / "text" / "tinyshakespeare.txt"
SPLITS = ("train", "validation", "test")
#: Every byte value, often enough for all splits.
BYTES = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()


def section(name, path=None, checksum="any", **changes):
    path = None if path is None else str(path)
    return {"source": "named", "name": name, "path": path, "checksum": checksum, **changes}


def written(folder, content=BYTES):
    path = folder / "mine"
    path.write_bytes(content)
    return path


@pytest.fixture
def files(tmp_path):
    names = [*(f"{split}.safetensors" for split in SPLITS), "corpus.json"]
    return CorpusFiles(*(tmp_path / "corpus" / name for name in names))


def write(files, settings, n_ctx):
    """What the job writes, the tokenizer beside the text."""
    names = ("tokenizer.json", "tokenizer_config.json")
    main(files, *(files.summary.parent / name for name in names), None, settings, n_ctx, {})


@pytest.mark.parametrize("n_ctx", [4, 7, 64])
def test_rows_one_after_the_other_are_the_text(tmp_path, files, n_ctx):
    write(files, section("enwik8", written(tmp_path)), n_ctx)
    theirs = AutoTokenizer.from_pretrained(files.summary.parent)
    for split, (start, stop) in {
        "train": (0, 4500),
        "validation": (4500, 4750),
        "test": (4750, 5000),
    }.items():
        file = read_tokens(getattr(files, split))
        assert file.tokens.dtype == torch.int32
        assert file.tokens.shape == ((stop - start) // n_ctx, n_ctx)
        text = BYTES[start:stop][: file.tokens.numel()].decode("latin-1")
        ids = file.tokens.flatten().tolist()
        assert theirs.decode(ids) == text
        assert theirs(text)["input_ids"] == ids
        assert file.kept[:, 1:].all()
        assert not file.kept[:, 0].any()
        assert file.scored.all()
        assert file.kept.shape == file.tokens.shape
        assert (file.vocabulary.bos_id, file.vocabulary.pad_id) == (None, None)
    assert (theirs.bos_token_id, theirs.pad_token_id, theirs.unk_token_id) == (None, None, 256)
    assert theirs("\u0100")["input_ids"] == [256]


def test_corpus_json_tells_what_was_read(tmp_path, files):
    path = written(tmp_path, BYTES.replace(b"\0", b"") + b"tail")
    write(files, section("text8", path), n_ctx=16)
    summary = json.loads(files.summary.read_text())
    text = path.read_bytes()
    md5 = hashlib.md5(text).hexdigest()
    assert summary["name"] == "text8"
    assert summary["source"] == f"text8, {path}"
    assert summary["source_sha256"] == hashlib.sha256(text).hexdigest()
    assert summary["checksum"] == {"md5": md5, "as_published": False}
    assert (summary["n_bytes"], summary["n_symbols"]) == (len(text), 255)
    assert summary["vocab_size"] == 256
    assert (summary["bos_id"], summary["pad_id"], summary["excluded_ids"]) == (None, None, [255])
    assert summary["splits"]["train"] == [0, len(text) * 9 // 10]
    for split, (start, stop) in summary["splits"].items():
        assert summary["n_rows"][split] == (stop - start) // 16
        assert summary["n_tokens"][split] == summary["n_rows"][split] * 15


@pytest.mark.parametrize("chunk", [1, 7, 100, 10**6])
def test_encoding_is_a_table_however_the_text_is_cut(monkeypatch, chunk):
    monkeypatch.setattr(characters, "CHUNK_BYTES", chunk)
    text = np.frombuffer(b"hello world\xff\x00", dtype=np.uint8).copy()
    letters = characters.alphabet(text)
    assert letters.tobytes() == bytes(sorted(set(b"hello world\xff\x00")))
    characters.encode(text, letters)
    assert letters[text].tobytes() == b"hello world\xff\x00"


def test_the_large_corpora_hold_out_five_million_twice():
    for name in ("enwik8", "text8"):
        assert NAMED[name].bounds(NAMED[name].n_bytes) == {
            "train": (0, 90_000_000),
            "validation": (90_000_000, 95_000_000),
            "test": (95_000_000, 100_000_000),
        }


def test_shakespeare_is_validated_on_the_last_tenth_and_tested_on_its_second_half():
    corpus = NAMED["shakespeare_char"]
    n_train = int(0.9 * corpus.n_bytes)
    assert corpus.bounds(corpus.n_bytes) == {
        "train": (0, n_train),
        "validation": (n_train, 1_115_394),
        "test": (n_train + (1_115_394 - n_train) // 2, 1_115_394),
    }


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason=f"needs {SHAKESPEARE}")
def test_shakespeare_as_published():
    corpus = build(section("shakespeare_char", SHAKESPEARE, "published"), n_ctx=256)
    text = SHAKESPEARE.read_text(encoding="ascii")
    letters = sorted(set(text))
    ids = {letter: index for index, letter in enumerate(letters)}
    summary = corpus.summary()
    assert summary["checksum"]["as_published"]
    assert summary["checksum"]["sha256"] == summary["source_sha256"]
    assert (summary["n_symbols"], summary["vocab_size"]) == (65, 66)
    for split, start in {"train": 0, "validation": 1_003_854, "test": 1_059_624}.items():
        read = corpus.rows[split].flatten().tolist()
        assert read == [ids[letter] for letter in text[start : start + len(read)]]
    assert corpus.rows["train"].shape == (1_003_854 // 256, 256)


def test_another_file_than_the_published_one_is_refused(tmp_path):
    path = written(tmp_path)
    md5 = hashlib.md5(BYTES).hexdigest()
    message = rf"mine is not enwik8 as published \(md5 {md5} instead of a1fa5ffd.*checksum to any"
    with pytest.raises(InputError, match=message):
        build(section("enwik8", path, "published"), n_ctx=8)


def test_a_damaged_file_in_the_cache_is_named(tmp_path):
    (tmp_path / "text8").write_bytes(BYTES)
    with pytest.raises(InputError, match=r"text8 is not text8 as published .*: delete it and run"):
        build(section("text8", None, "published", cache=str(tmp_path)), n_ctx=8)


def test_a_file_in_the_cache_counts_as_the_published_one(tmp_path, monkeypatch):
    checksum = hashlib.md5(BYTES).hexdigest()
    text8 = dataclasses.replace(NAMED["text8"], checksum=checksum)
    monkeypatch.setattr(module, "NAMED", MappingProxyType({"text8": text8}))
    (tmp_path / "text8").write_bytes(BYTES)
    corpus = build(section("text8", None, "published", cache=str(tmp_path)), n_ctx=8)
    assert corpus.source == "text8, http://mattmahoney.net/dc/text8.zip"
    assert corpus.summary()["checksum"] == {"md5": checksum, "as_published": True}


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "mine is empty"), (b"abc" * 9, "train split has 24 characters")]
)
def test_too_little_text_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        build(section("text8", written(tmp_path, content)), n_ctx=25)


def test_the_cache_is_named_by_config_environment_or_custom(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLUSTERSAE_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(None) == tmp_path / ".cache" / "clustersae"
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert str(cache_folder(None)) == "/scratch/clustersae"
    monkeypatch.setenv("CLUSTERSAE_DATA", "~/texts")
    assert cache_folder(None) == tmp_path / "texts"
    assert str(cache_folder("here")) == "here"
