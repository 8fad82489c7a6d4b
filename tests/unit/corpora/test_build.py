"""Text in the tokens of a model."""

import json

import datasets
import pytest
import torch
from language_models import STORIES, TEXT, needs_stories
from tiny_tokenizers import WORDS, puts, save, word_level
from transformers import AutoTokenizer

from clustersae.corpora.build import CorpusFiles, layout_of, packed
from clustersae.corpora.packing import Layout
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.corpora.tokens import SPLITS, read_tokens
from clustersae.runtime.errors import InputError

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
LLAMA = ["<unk>", "<s>", "</s>", *WORDS]


def settings_of(**changes):
    settings = {"source": "text", "separator": "|", "max_tokens": None, "encoding": "utf-8"}
    return {**settings, "fractions": {"validation": 0.2, "test": 0.2}, **changes}


def model(folder, template=None, names=NAMES):
    tokenizer = word_level(LLAMA, LLAMA[:3], "<unk>")
    return model_tokenizer(
        save(folder, puts(tokenizer, template) if template else tokenizer, names)
    )


@pytest.mark.parametrize(
    ("asked", "template", "layout"),
    [
        ("auto", None, Layout.NONE),
        ("auto", "<s> $A", Layout.DOCUMENT),
        ("auto", "$A </s>", Layout.NONE),
        ("row", None, Layout.ROW),
        ("document", None, Layout.DOCUMENT),
        ("none", "<s> $A", Layout.NONE),
    ],
)
def test_bos_stands_where_the_tokenizer_or_the_user_says(tmp_path, asked, template, layout):
    assert layout_of(asked, model(tmp_path, template)) is layout


@pytest.mark.parametrize("asked", ["row", "document"])
def test_a_bos_that_the_tokenizer_lacks_is_refused(tmp_path, asked):
    without = model_tokenizer(save(tmp_path, word_level(WORDS, [])))
    with pytest.raises(InputError, match=f"bos is {asked}, but .* has no .*: write auto or none"):
        layout_of(asked, without)
    assert layout_of("auto", without) is layout_of("none", without) is Layout.NONE


def test_how_others_have_laid_out_their_tokens_is_not_known(tmp_path):
    rows = datasets.Dataset.from_dict({"text": [[0, 3, 4, 5]] * 10})
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "rows")
    settings = settings_of(
        source="dataset", dataset=str(tmp_path / "rows"), tokenised=True, field="text",
        split="train", subset=None, revision=None, files=[],
    )  # fmt: skip
    corpus = packed(settings, 4, model(tmp_path / "model"), Layout.NONE)
    assert corpus.facts["bos"] == "auto"


@pytest.mark.parametrize("layout", list(Layout))
def test_what_is_written_says_how_it_was_laid_out(tmp_path, layout):
    (tmp_path / "t.txt").write_text("|".join(["the cat sat on </s> a mat", "the dog ran"] * 40))
    settings = settings_of(files=[tmp_path / "t.txt"])
    corpus = packed(settings, 8, model(tmp_path / "model"), layout, shuffle=3)
    files = CorpusFiles(*(tmp_path / name for name in ("train", "validation", "test", "c.json")))
    corpus.write(files, {})
    summary = json.loads(files.summary.read_text())
    assert (summary["bos"], summary["shuffle"], summary["n_documents"]) == (str(layout), 3, 80)
    assert (summary["eos_id"], summary["excluded_ids"]) == (2, [0, 1, 2])
    assert not summary["validation_and_test_differ"]
    for split in SPLITS:
        file = read_tokens(getattr(files, split))
        assert (file.inside is not None) == (layout is Layout.ROW)
        assert file.tokens[:, 0].eq(1).all() == (layout is Layout.ROW)
        assert not file.kept[:, 0].any()
        assert not file.kept[file.tokens == 2].any()  # spelled out in a document, or between them
        unscored = file.kept[:, 1:] & ~file.scored
        assert unscored.any() == (layout is Layout.ROW)
        assert not unscored[:, 1:].any()


def test_files_of_two_kinds_are_mixed_by_the_shuffle(tmp_path):
    for name, text in (("a.txt", "the cat sat|"), ("b.txt", "a dog ran|")):
        (tmp_path / name).write_text(text * 300)
    settings = settings_of(files=[tmp_path / "a.txt", tmp_path / "b.txt"])
    settings |= {"fractions": {"validation": 0.4, "test": 0.3}}
    loaded = model(tmp_path / "model")
    assert packed(settings, 8, loaded).facts["validation_and_test_differ"]
    assert not packed(settings, 8, loaded, shuffle=0).facts["validation_and_test_differ"]


@needs_stories
def test_stories_in_the_tokens_of_a_model():
    settings = settings_of(files=[TEXT], separator="<|endoftext|>", max_tokens=5000)
    settings |= {"fractions": {"validation": 0.05, "test": 0.05}}
    corpus = packed(settings, 128, model_tokenizer(STORIES))
    stories = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")[:40]
    theirs = AutoTokenizer.from_pretrained(STORIES)
    stream = [i for story in stories for i in theirs(story)["input_ids"]]  # BOS before each
    rows = torch.cat(list(corpus.rows.values()))
    ours = rows[:, 1:].flatten().tolist()
    assert rows[:, 0].eq(1).all()
    assert ours == stream[1 : len(ours) + 1]
    n_text = len(ours) - ours.count(1)
    assert 5000 - 127 < n_text <= 5000
