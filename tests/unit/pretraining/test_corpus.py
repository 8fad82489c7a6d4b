"""The texts of models that are trained here: toy English and characters."""

import hashlib
import json

import pandas as pd
import pytest
import torch
from build_corpus import main
from language_models import SHARED
from transformers import AutoTokenizer

from clustersae.corpora import text, toy_english
from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.tokens import read_tokens
from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.pretraining.corpus import build
from clustersae.runtime.errors import InputError

SHAKESPEARE = SHARED / "text" / "tinyshakespeare.txt"
FRACTIONS = {"validation": 0.05, "test": 0.05}
TOY = {"source": "toy-english", "seed": 3, "rows": {"train": 60, "validation": 9, "test": 7}}


def text_settings(*files, **changes):
    return {
        **{"source": "text", "files": files, "separator": None, "field": "text"},
        **{"max_tokens": None, "fractions": FRACTIONS, "encoding": "utf-8"},
        **changes,
    }


def test_toy_english_rows_spell_its_sentences(tmp_path):
    names = ("train", "validation", "test")
    files = CorpusFiles(
        *(tmp_path / f"{name}.safetensors" for name in names), tmp_path / "corpus.json"
    )
    others = ("tokenizer.json", "tokenizer_config.json", "factors.parquet")
    main(files, *(tmp_path / name for name in others), TOY, n_ctx=20, asked={})
    summary = json.loads(files.summary.read_text())
    factors = pd.read_parquet(tmp_path / "factors.parquet")
    for split, n_rows in TOY["rows"].items():
        file = read_tokens(getattr(files, split))
        sentences = toy_english.take(split, n_rows, seed=3)
        for row, sentence in zip(file.tokens.tolist(), sentences):
            words = ["<bos>", *sentence.words]
            padding = ["<pad>"] * (20 - len(words))
            assert [VOCABULARY[i] for i in row] == words + padding
        n_words = sum(len(sentence.words) for sentence in sentences)
        assert int(file.kept.sum()) == n_words == summary["n_tokens"][split]
        families = factors[(factors["split"] == split) & (factors["factor"] == "family")]
        assert families["value"].tolist() == [sentence.family for sentence in sentences]
    assert summary["n_rows"] == TOY["rows"]
    assert AutoTokenizer.from_pretrained(tmp_path).bos_token == "<bos>"


def test_rows_too_short_for_toy_english_are_refused():
    with pytest.raises(
        InputError, match="rows of up to 18 tokens and n_ctx is 17: set n_ctx to 18"
    ):
        build(TOY, n_ctx=17)


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason=f"needs {SHAKESPEARE}")
def test_shakespeare_in_characters_comes_back():
    corpus = build(text_settings(SHAKESPEARE), n_ctx=64)
    text = SHAKESPEARE.read_text(encoding="utf-8")
    rows = torch.cat(list(corpus.rows.values()))
    assert corpus.loaded.tokenizer.decode(rows[:, 1:].flatten().tolist()) == text[: len(rows) * 63]
    assert len(text) - len(rows) * 63 < 63
    assert corpus.source_sha256.startswith("86c4e6aa")
    assert corpus.summary()["vocab_size"] == 65 + 2


def test_max_tokens_counts_text_not_bos(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcd" * 100)
    corpus = build(text_settings(path, max_tokens=120), n_ctx=5)
    assert corpus.summary()["n_rows"] == {"train": 26, "validation": 2, "test": 2}
    assert sum(corpus.summary()["n_tokens"].values()) == 120


def test_documents_of_a_character_corpus_are_separated(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "abc"}\n{"text": "de"}\n' * 30)
    corpus = build(text_settings(path, source="jsonl"), n_ctx=4)
    stream = torch.cat(list(corpus.rows.values()))[:, 1:].flatten().tolist()
    assert stream[:7] == [2, 3, 4, 0, 5, 6, 0]
    assert corpus.source_sha256 == hashlib.sha256(b"abcde" * 30).hexdigest()


def test_without_a_separator_each_file_of_a_character_corpus_is_one_document(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PIECE_CHARACTERS", 7)
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, written in zip(files, ("abcabc\nabcabc abc", " \n", "de" * 30)):
        file.write_text(written)
    corpus = build(text_settings(*files), n_ctx=4)
    stream = torch.cat(list(corpus.rows.values()))[:, 1:].flatten().tolist()
    letters = corpus.loaded.tokenizer.decode(stream, skip_special_tokens=False)
    assert letters.startswith("abcabc\nabcabc abc<bos>dedede")
    assert letters.count("<bos>") == 1
    assert corpus.facts["n_documents"] == 2


def test_too_small_a_text_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcd" * 100)
    files = CorpusFiles(*(tmp_path / "corpus" / name for name in CorpusFiles._fields))
    with pytest.raises(InputError, match=r"train split has \d+ tokens and x asks for 900: ask for"):
        build(text_settings(path), n_ctx=5).write(files, {"x": ("train", 900)})
    assert not (tmp_path / "corpus").exists()
