import hashlib
import json

import pandas as pd
import pytest
import torch
from build_corpus import CorpusFiles, main
from language_models import SHARED, STORIES, TEXT, needs_stories
from transformers import AutoTokenizer

from clustersae.corpora import toy_english
from clustersae.corpora.build import build
from clustersae.corpora.tokens import read_tokens
from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.runtime.errors import InputError

SHAKESPEARE = SHARED / "text" / "tinyshakespeare.txt"
FRACTIONS = {"validation": 0.05, "test": 0.05}
TOY = {"source": "toy-english", "seed": 3, "rows": {"train": 60, "validation": 9, "test": 7}}


def text_settings(*files, **changes):
    return {
        **{"source": "text", "files": files, "separator": None, "field": "text"},
        **{"tokenizer": "character", "max_tokens": None, "fractions": FRACTIONS},
        **changes,
    }


def test_toy_english_rows_spell_its_sentences(tmp_path):
    names = ("train", "validation", "test")
    files = CorpusFiles(
        *(tmp_path / f"{name}.safetensors" for name in names),
        tmp_path / "corpus.json",
        tmp_path / "tokenizer.json",
        tmp_path / "tokenizer_config.json",
        tmp_path / "factors.parquet",
    )
    main(files, TOY, n_ctx=20, model_dir=None)
    summary = json.loads(files.summary.read_text())
    factors = pd.read_parquet(files.factors)
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


@needs_stories
def test_stories_in_the_tokens_of_a_model():
    settings = text_settings(TEXT, separator="<|endoftext|>", tokenizer="model", max_tokens=5000)
    corpus = build(settings, n_ctx=128, model_dir=STORIES)
    stories = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")[:40]
    theirs = AutoTokenizer.from_pretrained(STORIES)
    stream = [i for story in stories for i in theirs(story)["input_ids"]]  # BOS before each
    rows = torch.cat(list(corpus.rows.values()))
    ours = rows[:, 1:].flatten().tolist()
    assert rows[:, 0].eq(1).all()
    assert ours == stream[1 : len(ours) + 1]
    n_text = len(ours) - ours.count(1)
    assert 5000 - 127 < n_text <= 5000


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


def test_a_model_trained_here_has_no_tokenizer_to_use(tmp_path):
    with pytest.raises(InputError, match=r"set corpus.tokenizer to 'character'"):
        build(text_settings(tmp_path / "a.txt", tokenizer="model"), n_ctx=8)
