import hashlib
import random
from collections import Counter

import numpy as np
import pytest
import torch

from clustersae.corpora.packing import Digest, Layout, pack, rows_of, split_rows
from clustersae.corpora.text import Continued
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
    rows = pack(letters, DOCUMENTS, n_ctx=4).tokens
    stream = "abca<bos>b<bos>ccabcab"
    assert rows[:, 0].tolist() == [BOS] * len(rows)
    assert text_of(letters, rows[:, 1:].flatten().tolist()) == stream[: len("<bos>") * 2 + 10]
    assert rows.dtype == torch.int32


def test_pieces_that_go_on_are_one_document(letters):
    pieces = ["abca", "b", Continued("cc"), Continued("abc"), Continued("ab")]
    whole = pack(letters, ["abca", "bccabcab"], n_ctx=4)
    assert torch.equal(pack(letters, pieces, n_ctx=4).tokens, whole.tokens)
    assert whole.n_documents == pack(letters, pieces, n_ctx=4).n_documents == 2


@pytest.mark.parametrize("max_tokens", [3, 4, 5, 6, 11, 12, 99])
def test_reading_stops_at_max_tokens(letters, max_tokens):
    pieces = [DOCUMENTS[0], *map(Continued, DOCUMENTS[1:])]
    rows = pack(letters, pieces, n_ctx=2, max_tokens=max_tokens).tokens
    assert text_of(letters, rows[:, 1].tolist()) == "abcabccabcab"[:max_tokens]


#: Rows of 4 by hand, of abca, b, ccabcab: what they hold, and which begin inside a document.
BY_HAND = {
    (Layout.ROW, True): (["^abc", "^a^b", "^^cc", "^abc", "^ab."], [0, 1, 0, 1, 1]),
    (Layout.DOCUMENT, True): (["^abc", "a^b^", "ccab", "cab."], [0, 1, 0, 1]),
    (Layout.NONE, True): (["abca", "$b$c", "cabc", "ab.."], [0, 0, 1, 1]),
    (Layout.NONE, False): (["abca", "bcca", "bcab"], [0, 0, 1]),
}


@pytest.mark.parametrize(("layout", "with_eos"), BY_HAND)
def test_where_bos_and_end_of_text_stand(letters, layout, with_eos):
    ids = {"^": BOS, "$": letters.tokenizer.token_to_id("<unk>")}
    ids |= {letter: letters.tokenizer.token_to_id(letter) for letter in "abc"}
    eos_id = ids["$"] if with_eos else None
    loaded = LoadedTokenizer(letters.tokenizer, Vocabulary("abc", 5, BOS, None, eos_id))
    rows, inside = BY_HAND[layout, with_eos]
    full = [row for row in rows if "." not in row]
    packed = pack(loaded, DOCUMENTS, 4, layout)
    assert packed.tokens.tolist() == [[ids[each] for each in row] for row in full]
    assert packed.inside.int().tolist() == inside[: len(full)]


def test_a_tokenizer_without_bos_fills_rows_with_text_alone(letters):
    without = LoadedTokenizer(letters.tokenizer, Vocabulary("letters", 5, None, None))
    rows = pack(without, DOCUMENTS, n_ctx=4).tokens
    assert text_of(letters, rows.flatten().tolist()) == "abcabccabcab"


@pytest.mark.parametrize("layout", list(Layout))
def test_a_shuffle_changes_the_order_of_whole_documents_alone(letters, layout):
    generator = random.Random(1)
    documents = ["".join(generator.choices("abc", k=1 + index % 9)) for index in range(300)]
    loaded = LoadedTokenizer(letters.tokenizer, Vocabulary("abc", 5, 0, None, eos_id=1))
    mark = "<unk>" if layout is Layout.NONE else "<bos>"

    def read(shuffle):
        rows = pack(loaded, documents, 2, layout, shuffle=shuffle).tokens
        ids = rows[:, 1:] if layout is Layout.ROW else rows
        return text_of(letters, ids.flatten().tolist()).split(mark)

    orders = [read(shuffle) for shuffle in (None, 0, 1)]
    in_order = ["", *documents] if layout is Layout.DOCUMENT else documents
    assert orders[0][:-1] == in_order[: len(orders[0]) - 1]
    for order in orders[1:]:
        assert order != orders[0]
        lost = Counter(orders[0]) - Counter(order)
        assert sum(lost.values()) <= 2  # the tail that fills no row
    assert orders[1] == read(0)
    assert orders[1] != orders[2]


def test_documents_without_tokens_leave_no_trace(letters):
    rows = pack(letters, ["", "abca", "", "", "b", "ccabcab", ""], n_ctx=4)
    assert torch.equal(rows.tokens, pack(letters, DOCUMENTS, n_ctx=4).tokens)


def test_only_tokens_that_occur_must_fit_the_model(letters):
    small = LoadedTokenizer(letters.tokenizer, Vocabulary("the model", 4, BOS, None))
    assert len(pack(small, ["abab"], n_ctx=4).tokens) == 1  # c is 4
    with pytest.raises(InputError, match=r"token 'c' \(4\), but .* the model embeds only 4: take"):
        pack(small, ["abab", "abc"], n_ctx=4)


def test_too_little_text_for_one_row_is_refused(letters):
    with pytest.raises(InputError, match="The text has 4 tokens, fewer than a row of n_ctx 6"):
        pack(letters, ["abca"], n_ctx=6)
    for layout in Layout:
        with pytest.raises(InputError, match="The text has 0 tokens"):
            pack(letters, [], 6, layout)


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


def runs(*lengths):
    """Token ids 1, 2, 3, 1, … in runs of these lengths."""
    ids = iter([1 + place % 3 for place in range(sum(lengths))])
    return [np.array([next(ids) for _ in range(length)], dtype=np.int32) for length in lengths]


def test_runs_of_tokens_become_rows_as_they_are(letters):
    rows = rows_of(letters, runs(4, 9, 3, 4), n_ctx=4)
    # Of nine tokens one is left, and three fill no row.
    assert rows.tokens.tolist() == [[1, 2, 3, 1], [2, 3, 1, 2], [3, 1, 2, 3], [2, 3, 1, 2]]
    assert rows.tokens.dtype == torch.int32
    assert rows.n_documents == 3


def test_reading_runs_stops_with_the_row_that_has_enough(letters):
    read = iter(runs(*[8] * 10))
    assert rows_of(letters, read, n_ctx=4, max_tokens=10).tokens.shape == (3, 4)
    assert len(list(read)) == 8, "no more is read"


def test_runs_in_another_order_are_the_same_runs(letters):
    given = [np.full(8, 1 + place % 3, dtype=np.int32) for place in range(20)]
    kept, shuffled = (rows_of(letters, given, 4, shuffle=seed).tokens for seed in (None, 3))
    assert kept.tolist() != shuffled.tolist()
    assert sorted(kept.tolist()) == sorted(shuffled.tolist())
    assert (shuffled.reshape(-1, 2, 4)[:, 0] == shuffled.reshape(-1, 2, 4)[:, 1]).all()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], "runs of at most 3 tokens, fewer than a row of n_ctx 4: lower corpus.n_ctx"),
        ([1, 2, 3, 99], r"the token 'unknown' \(99\), but the model"),
        ([1, 2, 3, -1], "the token id -1; ids begin at 0"),
    ],
)
def test_runs_that_the_model_cannot_read_are_refused(letters, ids, message):
    with pytest.raises(InputError, match=message):
        rows_of(letters, [np.array(ids, dtype=np.int32)], n_ctx=4)


def test_the_digest_of_ids_tells_them_apart(letters):
    digests = []
    for ids in ([1, 2, 3], [1, 2, 3], [1, 2, 2]):
        digest = Digest()
        list(digest.watch_ids([np.array(ids, dtype=np.int32)]))
        digests.append(digest.sha256)
    assert digests[0] == digests[1] != digests[2]
