import json
import shutil

import pytest
from language_models import STORIES, TEXT, needs_stories
from transformers import AutoTokenizer

from clustersae.corpora import tokenizer, toy_english
from clustersae.corpora.tokenizer import (
    character_tokenizer,
    encode_documents,
    model_tokenizer,
    save_tokenizer,
    word_tokenizer,
)
from clustersae.corpora.tokens import Vocabulary
from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.runtime.errors import InputError

TEXT_WITH_SPACES = "First Citizen:\n  Before we proceed , é\t🙂 ...\r\n\n hear me speak. "


def load_as_users_do(loaded, folder):
    """Save a tokenizer beside a model's config.json and load it with transformers."""
    (folder / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "vocab_size": loaded.vocabulary.vocab_size})
    )
    save_tokenizer(loaded, folder / "tokenizer.json", folder / "tokenizer_config.json")
    return AutoTokenizer.from_pretrained(folder)


def test_every_sentence_of_toy_english_comes_back():
    words = word_tokenizer().tokenizer
    for sentence in toy_english.take("train", 500, seed=0):
        ids = words.encode(" ".join(sentence.words)).ids
        assert [VOCABULARY[i] for i in ids] == sentence.words
        assert words.decode(ids) == " ".join(sentence.words)


def test_ordinary_spelling_is_read_as_toy_english():
    encoding = word_tokenizer().tokenizer.encode("The war, from 1732 to 17")
    assert encoding.tokens == ["The", "war", ",", "from", "17", "32", "to", "17"]


def test_transformers_loads_the_word_tokenizer(tmp_path):
    theirs = load_as_users_do(word_tokenizer(), tmp_path)
    ids = [VOCABULARY.index(word) for word in ("Mary", "gave", ".")]
    assert theirs("Mary gave .")["input_ids"] == ids  # and no BOS in front
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.unk_token_id) == (0, 1, 2)
    assert theirs("Marian")["input_ids"] == [2]
    assert theirs.decode([1, *ids, 0], skip_special_tokens=True) == "Mary gave ."


def test_transformers_loads_the_character_tokenizer_and_text_comes_back(tmp_path):
    loaded = character_tokenizer(TEXT_WITH_SPACES)
    theirs = load_as_users_do(loaded, tmp_path)
    ids = theirs(TEXT_WITH_SPACES)["input_ids"]
    assert len(ids) == len(TEXT_WITH_SPACES)
    assert theirs.decode(ids) == TEXT_WITH_SPACES
    assert ids == loaded.tokenizer.encode(TEXT_WITH_SPACES).ids
    assert (theirs.bos_token_id, theirs.pad_token_id) == (0, None)
    assert loaded.vocabulary.vocab_size == len(set(TEXT_WITH_SPACES)) + 2


def test_characters_never_seen_become_unknown():
    assert character_tokenizer("ab").tokenizer.encode("axb").ids == [2, 1, 3]


@needs_stories
def test_a_models_tokenizer_gives_the_ids_that_transformers_gives(monkeypatch):
    monkeypatch.setattr(tokenizer, "ENCODE_CHARACTERS", 2000)  # several batches
    stories = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")[:12]
    loaded = model_tokenizer(STORIES)
    theirs = AutoTokenizer.from_pretrained(STORIES)
    expected = [theirs(story, add_special_tokens=False)["input_ids"] for story in stories]
    assert [ids.tolist() for ids, _ in encode_documents(loaded.tokenizer, stories)] == expected
    vocabulary = loaded.vocabulary
    assert (vocabulary.bos_id, vocabulary.pad_id, vocabulary.vocab_size) == (1, None, 512)
    assert (vocabulary.eos_id, vocabulary.special_ids) == (2, (0, 1, 2))
    assert loaded.adds_bos


@needs_stories
def test_the_models_description_has_the_last_word_on_special_tokens(tmp_path):
    copy_tokenizer(tmp_path)
    facts = {"bos_id": 2, "eos_id": None, "pad_id": 0, "special_ids": [0, 2, 7], "adds_bos": True}
    (tmp_path / "description.json").write_text(json.dumps(facts | {"vocab_size": 600}))
    loaded = model_tokenizer(tmp_path)
    assert loaded.adds_bos
    assert loaded.vocabulary == Vocabulary(str(tmp_path), 600, 2, 0, None, (0, 2, 7))


def test_a_model_without_a_fast_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no tokenizer\.json\. Save one there"):
        model_tokenizer(tmp_path)


def copy_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copyfile(STORIES / name, folder / name)
