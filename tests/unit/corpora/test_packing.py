import hashlib

import pytest
import torch

from clustersae.corpora.packing import Digest, pack, split_rows
from clustersae.corpora.tokenizer import LoadedTokenizer, character_tokenizer
from clustersae.corpora.tokens import Vocabulary
from clustersae.runtime.errors import InputError

BOS = 0
DOCUMENTS = ["abca", "b", "ccabcab"]


@pytest.fixture
def letters():
    return character_tokenizer("abc")


def text_of(letters, ids):
    return letters.tokenizer.decode(list(ids), skip_special_tokens=False)


def test_rows_hold_all_text_in_order_with_bos_in_front_and_between(letters):
    rows = pack(letters, DOCUMENTS, n_ctx=4)
    stream = "abca<bos>b<bos>ccabcab"
    assert rows[:, 0].tolist() == [BOS] * len(rows)
    assert text_of(letters, rows[:, 1:].flatten().tolist()) == stream[: len("<bos>") * 2 + 10]
    assert rows.dtype == torch.int32


def test_text_without_ends_of_documents_is_joined(letters):
    rows = pack(letters, DOCUMENTS, n_ctx=5, separate=False)
    assert text_of(letters, rows[:, 1:].flatten().tolist()) == "abcabccabcab"


def test_pieces_of_any_size_give_the_same_rows(letters):
    whole = pack(letters, ["".join(DOCUMENTS)], n_ctx=4, separate=False)
    assert torch.equal(pack(letters, DOCUMENTS, n_ctx=4, separate=False), whole)


@pytest.mark.parametrize("max_tokens", [3, 4, 5, 6, 11, 12, 99])
def test_reading_stops_at_max_tokens(letters, max_tokens):
    read = []

    def documents():
        for document in DOCUMENTS:
            read.append(document)
            yield document

    rows = pack(letters, documents(), n_ctx=2, max_tokens=max_tokens, separate=False)
    assert text_of(letters, rows[:, 1].tolist()) == "abcabccabcab"[:max_tokens]


def test_a_tokenizer_without_bos_fills_rows_with_text_alone(letters):
    without = LoadedTokenizer(letters.tokenizer, Vocabulary("letters", 5, None, None))
    rows = pack(without, DOCUMENTS, n_ctx=4)
    assert text_of(letters, rows.flatten().tolist()) == "abcabccabcab"


def test_too_little_text_for_one_row_is_refused(letters):
    with pytest.raises(InputError, match="The text has 4 tokens, fewer than a row of n_ctx 6"):
        pack(letters, ["abca"], n_ctx=6)
    with pytest.raises(InputError, match="The text has 0 tokens"):
        pack(letters, [], n_ctx=6)


def test_splits_follow_each_other_in_the_stream():
    rows = torch.arange(40).reshape(20, 2)
    splits = split_rows(rows, validation=0.1, test=0.25)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 13,
        "validation": 2,
        "test": 5,
    }
    assert torch.equal(torch.cat(list(splits.values())), rows)
    assert splits["train"][0, 0] == 0


@pytest.mark.parametrize(("n_rows", "validation", "test"), [(5, 0.05, 0.4), (2, 0.4, 0.4)])
def test_a_split_without_rows_is_refused(n_rows, validation, test):
    with pytest.raises(InputError, match=f"{n_rows} rows cannot be split into .* each needs one"):
        split_rows(torch.zeros(n_rows, 2), validation, test)


def test_the_digest_is_that_of_the_text():
    digest = Digest()
    assert list(digest.watch(["é", "bc"])) == ["é", "bc"]
    assert digest.sha256 == hashlib.sha256("ébc".encode()).hexdigest()
