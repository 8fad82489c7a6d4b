import pytest
from language_models import STORIES, needs_stories
from tokenizers import Tokenizer, models, pre_tokenizers

from clustersae.circuits.tasks.pairs import Loss, PairMaker, TokenPair, unknown_id
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.corpora.packing import pack
from clustersae.corpora.tokenizer import (
    LoadedTokenizer,
    character_tokenizer,
    model_tokenizer,
    word_tokenizer,
)
from clustersae.corpora.tokens import Vocabulary
from clustersae.corpora.toy_lexicon import VOCABULARY

CHARACTERS = character_tokenizer("Thabdegimnorsvwy ")
MAN = TaskPrompt("The man", "The men", " has", " have")
DOG = TaskPrompt("The dog", "The dogs", " is", " are")


def pair_of(loaded: LoadedTokenizer, prompt: TaskPrompt) -> TokenPair:
    (pair,) = PairMaker(loaded, 100).make([prompt])
    return pair


def characters(text: str) -> tuple[int, ...]:
    return tuple(CHARACTERS.tokenizer.token_to_id(character) for character in text)


def test_leading_characters_that_the_answers_share_move_into_the_prompts():
    bos = CHARACTERS.vocabulary.bos_id
    pair = pair_of(CHARACTERS, MAN)
    assert pair.clean == (bos, *characters("The man ha"))
    assert pair.patch == (bos, *characters("The men ha"))
    assert (pair.answer, pair.wrong) == characters("sv")
    assert pair.length == 11


def test_words_need_no_space_to_move():
    pair = pair_of(word_tokenizer(), DOG)
    assert [VOCABULARY[index] for index in pair.clean] == ["<bos>", "The", "dog"]
    assert [VOCABULARY[index] for index in pair.patch] == ["<bos>", "The", "dogs"]
    assert (VOCABULARY[pair.answer], VOCABULARY[pair.wrong]) == ("is", "are")


def test_years_are_split_as_in_the_corpus():
    prompt = TaskPrompt(
        "The war lasted from 1732 to 17", "The war lasted from 1702 to 17", "54", "13"
    )
    pair = pair_of(word_tokenizer(), prompt)
    assert [VOCABULARY[index] for index in pair.clean[4:]] == ["from", "17", "32", "to", "17"]
    assert (VOCABULARY[pair.answer], VOCABULARY[pair.wrong]) == ("54", "13")


@needs_stories
def test_answers_are_tokenised_behind_their_prompt():
    loaded = model_tokenizer(STORIES)
    pair = pair_of(loaded, TaskPrompt("Mia was a mother.", "Dan was a father.", " She", " He"))
    assert loaded.tokenizer.decode(pair.clean, skip_special_tokens=False) == "<s> Mia was a mother."
    # On its own " She" would begin with a token for the space.
    assert loaded.tokenizer.id_to_token(pair.answer) == "▁She"
    assert loaded.tokenizer.id_to_token(pair.wrong) == "▁He"


@needs_stories
def test_prompts_begin_as_the_rows_of_a_corpus_do():
    loaded = model_tokenizer(STORIES)
    prompt = TaskPrompt("The dog in the park", "The cat in the park", " was", " were")
    for tokenizer, text in ((loaded, prompt), (CHARACTERS, MAN)):
        (pair,) = PairMaker(tokenizer, 100).make([text])
        length = pair.length + 1
        row = pack(tokenizer, [text.clean_prefix + text.clean_answer + " and"], length).tokens[0]
        assert row.tolist() == [*pair.clean, pair.answer]


def test_without_bos_there_is_none_in_front():
    tokenizer, n_tokens = CHARACTERS.tokenizer, CHARACTERS.vocabulary.vocab_size
    without = LoadedTokenizer(tokenizer, Vocabulary("x", n_tokens, None, None))
    assert pair_of(without, MAN).clean == characters("The man ha")


@pytest.mark.parametrize(
    ("adds_bos", "eos_id", "start"),
    [(False, 7, 7), (True, 7, 0), (True, None, 0), (False, None, 0)],
)
def test_in_front_stands_what_the_model_has_seen_there(adds_bos, eos_id, start):
    vocabulary = CHARACTERS.vocabulary
    vocabulary = Vocabulary("x", vocabulary.vocab_size, vocabulary.bos_id, None, eos_id)
    loaded = LoadedTokenizer(CHARACTERS.tokenizer, vocabulary, adds_bos)
    assert pair_of(loaded, MAN).clean == (start, *characters("The man ha"))


def test_tokens_past_the_embedding_are_unknown():
    largest = max(characters("The man ha"))
    small = LoadedTokenizer(CHARACTERS.tokenizer, Vocabulary("x", largest, None, None))
    maker = PairMaker(small, 20)
    assert maker.make([MAN]) == []
    assert dict(maker.lost) == {Loss.UNKNOWN_TOKEN: 1}


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({"clean_prefix": "The mán"}, Loss.UNKNOWN_TOKEN),
        ({"patch_answer": " x"}, Loss.UNKNOWN_TOKEN),
        ({"patch_answer": " has been"}, Loss.SAME_ANSWER),
        ({"patch_answer": " has"}, Loss.SAME_ANSWER),
        ({"patch_prefix": "The woman"}, Loss.UNEQUAL_LENGTH),
        ({"patch_prefix": "The man"}, Loss.SAME_PROMPT),
        ({"clean_prefix": "The man" * 10, "patch_prefix": "The men" * 10}, Loss.TOO_LONG),
    ],
)
def test_unusable_pairs_are_counted_by_reason(changes, loss):
    maker = PairMaker(CHARACTERS, 11)
    assert maker.make([MAN._replace(**changes), MAN]) == [pair_of(CHARACTERS, MAN)]
    assert dict(maker.lost) == {loss: 1}
    assert maker.n_tried == 2


def test_the_context_bounds_the_prompt_with_bos_and_what_moved_into_it():
    assert PairMaker(CHARACTERS, 10).make([MAN]) == []
    assert len(PairMaker(CHARACTERS, 11).make([MAN])) == 1


def test_an_answer_that_merges_with_the_prompt_is_no_answer():
    ids = {"1": 0, "7": 1, "5": 2, "3": 3, " ": 4, "75": 5}
    merging = Tokenizer(models.BPE(ids, merges=[("7", "5")]))
    maker = PairMaker(LoadedTokenizer(merging, Vocabulary("x", 6, None, None)), 10)
    usable = TaskPrompt("3 1", "5 1", "5", "3")
    pairs = maker.make([TaskPrompt("3 17", "5 17", "5", "3"), usable])
    assert [pair.text for pair in pairs] == [usable]
    assert dict(maker.lost) == {Loss.ANSWER_JOINS_PROMPT: 1}


def test_answers_must_be_the_same_tokens_behind_either_prompt():
    ids = {word: index for index, word in enumerate(["?", "cat", "dog", "s", "t", "##s", "##t"])}
    pieces = Tokenizer(models.WordPiece(ids, unk_token="?"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    maker = PairMaker(LoadedTokenizer(pieces, Vocabulary("x", 7, None, None)), 10)
    usable = TaskPrompt("cat", "dog", "s", "t")
    assert [pair.text for pair in maker.make([usable._replace(patch_prefix="dog "), usable])] == [
        usable
    ]
    assert dict(maker.lost) == {Loss.ANSWER_JOINS_PROMPT: 1}


def test_repeats_are_lost_also_from_one_call_to_the_next_and_however_they_are_spelt():
    maker = PairMaker(word_tokenizer(), 10)
    assert len(maker.make([DOG, DOG, DOG.mirrored])) == 2
    assert maker.make([DOG._replace(clean_prefix="The  dog")]) == []
    assert dict(maker.lost) == {Loss.DUPLICATE: 2}


def test_unknown_tokens_of_all_kinds_of_tokenizers():
    assert unknown_id(CHARACTERS.tokenizer) == 1
    assert unknown_id(Tokenizer(models.Unigram([("a", 0.0), ("?", -1.0)], 1))) == 1
    assert unknown_id(Tokenizer(models.BPE({"a": 0}, merges=[]))) is None
