"""Text in the tokens of a model."""

import torch
from language_models import STORIES, TEXT, needs_stories
from transformers import AutoTokenizer

from clustersae.corpora.build import packed
from clustersae.corpora.tokenizer import model_tokenizer


@needs_stories
def test_stories_in_the_tokens_of_a_model():
    settings = {
        **{"source": "text", "files": [TEXT], "separator": "<|endoftext|>", "max_tokens": 5000},
        "fractions": {"validation": 0.05, "test": 0.05},
    }
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
