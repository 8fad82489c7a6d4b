import pytest
from tiny_tokenizers import WORDS, bytes_level, like_llama, puts, save, word_level

from clustersae.corpora.tokenizer import model_tokenizer

LLAMA = ["<unk>", "<s>", "</s>", *WORDS]


def found(folder):
    loaded = model_tokenizer(folder)
    vocabulary = loaded.vocabulary
    named = (vocabulary.bos_id, vocabulary.eos_id, vocabulary.pad_id)
    return named, vocabulary.special_ids, loaded.adds_bos


def test_names_in_the_settings_of_the_tokenizer(tmp_path):
    tokenizer = word_level(LLAMA, LLAMA[:3], "<unk>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    folder = save(tmp_path, tokenizer, {**names, "pad_token": "</s>"})
    assert found(folder) == ((1, 2, 2), (0, 1, 2), False)


@pytest.mark.parametrize("template", ["<s> $A", "<s> $A </s>"])
def test_a_post_processor_alone(tmp_path, template):
    folder = save(tmp_path, puts(word_level(LLAMA, [], "<unk>"), template))
    eos_id = 2 if "</s>" in template else None
    ids = (1,) if eos_id is None else (1, 2)
    assert found(folder) == ((1, eos_id, None), ids, True)


def test_what_is_put_in_front_is_bos_whatever_it_is_called(tmp_path):
    names = ["[PAD]", "[CLS]", "[SEP]", "<s>", *WORDS]
    tokenizer = puts(word_level(names, names[:4]), "[CLS] $A [SEP]")
    folder = save(tmp_path, tokenizer, {"bos_token": "<s>", "pad_token": "[PAD]"})
    assert found(folder) == ((1, 2, 0), (0, 1, 2, 3), True)


def test_an_old_model_with_a_map_of_special_tokens(tmp_path):
    whole = {"content": "<s>", "lstrip": False, "rstrip": False, "normalized": False}
    names = {"bos_token": whole, "eos_token": "</s>", "additional_special_tokens": ["dog"]}
    folder = save(tmp_path, word_level(LLAMA, [], "<unk>"), special_map=names)
    (bos_id, eos_id, _), special_ids, adds_bos = found(folder)
    assert (bos_id, eos_id, adds_bos) == (1, 2, False)
    assert {1, 2} <= set(special_ids)


def test_a_byte_tokenizer_without_bos_in_front(tmp_path):
    end = "<|endoftext|>"
    names = {"bos_token": end, "eos_token": end, "unk_token": end}
    folder = save(tmp_path, bytes_level([end]), {**names, "tokenizer_class": "GPT2Tokenizer"})
    assert found(folder) == ((256, 256, None), (256,), False)


def test_the_end_of_a_turn_is_not_that_of_a_text(tmp_path):
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *WORDS]
    tokenizer = word_level(names, names[:3])
    chat = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    assert found(save(tmp_path, tokenizer, chat)) == ((1, 0, 2), (0, 1, 2), False)


@pytest.mark.parametrize("kind", ["LlamaTokenizer", "PreTrainedTokenizerFast", "GemmaTokenizer"])
@pytest.mark.parametrize(
    ("template", "setting", "adds_bos"),
    [
        (None, True, True),  # transformers forgets it beside a tokenizer.json
        (None, False, False),
        (None, None, False),
        ("<s> $A", True, True),
        ("<s> $A", None, True),
        ("<s> $A", False, True),  # as transformers reads it
    ],
)
def test_the_setting_add_bos_token(tmp_path, kind, template, setting, adds_bos):
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = like_llama()
    settings = {**names, "tokenizer_class": kind, "add_bos_token": setting}
    folder = save(tmp_path, puts(tokenizer, template) if template else tokenizer, settings)
    assert found(folder) == ((1, 2, None), (0, 1, 2), adds_bos)


@pytest.mark.parametrize("config", [{}, {"bos_token": None, "add_bos_token": True}])
def test_a_setting_without_a_token_adds_nothing(tmp_path, config):
    assert found(save(tmp_path, word_level(WORDS, []), config)) == ((None, None, None), (), False)


def test_the_configuration_of_the_model_is_the_last_resort(tmp_path):
    tokenizer = word_level(["the", "<s>", "cat", "</s>"], [], "the")
    model = {"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 0}
    # `the` and `cat` are words: those ids are defaults of another vocabulary.
    assert found(save(tmp_path, tokenizer, model=model)) == ((1, 3, None), (1, 3), False)


@pytest.mark.parametrize("number", [-1, 11, 50256, None])
def test_ids_that_no_token_has_are_absent(tmp_path, number):
    folder = save(tmp_path, word_level(LLAMA, LLAMA[:3]), model={"bos_token_id": number})
    assert found(folder)[0] == (None, None, None)


def test_padding_that_is_made_up_beyond_the_embedding_is_absent(tmp_path):
    tokenizer = word_level(LLAMA, LLAMA[:3], "<unk>")
    names = {"bos_token": "<s>", "pad_token": "[PAD]"}
    assert found(save(tmp_path, tokenizer, names)) == ((1, None, None), (0, 1, 2), False)
    # The embedding may have rows to spare, where no token lies.
    padded = save(tmp_path, tokenizer, names, model={"vocab_size": 64})
    assert found(padded) == ((1, None, None), (0, 1, 2), False)


def test_tokens_past_the_embedding_are_no_obstacle(tmp_path):
    tokenizer = word_level(LLAMA, [*LLAMA[:3], "<image>"], "<unk>")
    folder = save(tmp_path, tokenizer, {"bos_token": "<s>"}, {"vocab_size": len(LLAMA)})
    assert found(folder) == ((1, None, None), (0, 1, 2), False)


@pytest.mark.parametrize("text", ["the </s> cat", "the</s>cat", "</s>"])
def test_a_special_token_that_a_text_spells_out_is_one(tmp_path, text):
    loaded = model_tokenizer(save(tmp_path, word_level(LLAMA, LLAMA[:3], "<unk>")))
    ids = loaded.tokenizer.encode(text, add_special_tokens=False).ids
    assert set(ids) & set(loaded.vocabulary.excluded_ids) == {2}
