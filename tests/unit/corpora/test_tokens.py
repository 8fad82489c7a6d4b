import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clustersae.corpora import tokens as token_files
from clustersae.corpora.tokens import (
    TokenFile,
    Vocabulary,
    kept_mask,
    read_tokens,
    rows_holding,
    shard_rows,
    write_tokens,
)
from clustersae.runtime import tensors
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import save_tensors


@pytest.mark.parametrize(
    ("kept_per_row", "n_shards", "expected"),
    [
        ([1, 1, 1, 1, 4, 4], 3, [(0, 4), (4, 5), (5, 6)]),
        ([3, 3, 3, 3], 2, [(0, 2), (2, 4)]),
        ([5, 1, 1, 1], 2, [(0, 1), (1, 4)]),
        ([0, 0, 0, 5], 2, [(0, 3), (3, 4)]),
        ([9], 1, [(0, 1)]),
    ],
)
def test_rows_are_cut_where_the_tokens_are(kept_per_row, n_shards, expected):
    assert shard_rows(kept_per_row, n_shards) == expected


@pytest.mark.parametrize("seed", range(20))
def test_every_cut_is_at_the_nearest_row(seed):
    rng = np.random.default_rng(seed)
    kept_per_row = rng.integers(1, 20, size=200)
    n_shards = int(rng.integers(1, 9))
    runs = shard_rows(kept_per_row, n_shards)
    assert [start for start, _ in runs] == [0, *(end for _, end in runs[:-1])]
    assert runs[-1][1] == 200
    filled = np.concatenate([[0], np.cumsum(kept_per_row)])
    for shard, (_, end) in enumerate(runs, start=1):
        share = filled[-1] * shard / n_shards
        assert abs(filled[end] - share) == np.abs(filled - share).min()


def test_no_shard_is_empty_however_uneven_the_rows():
    runs = shard_rows([100, 0, 0, 0, 0], 5)
    assert runs == [(row, row + 1) for row in range(5)]


def test_more_shards_than_rows_are_refused():
    with pytest.raises(InputError, match=r"3 rows cannot be cut into 4 shards: raise"):
        shard_rows([1, 1, 1], 4)


@pytest.mark.parametrize(("n_tokens", "n_rows"), [(1, 1), (5, 1), (6, 3), (8, 3), (9, 4)])
def test_the_first_rows_that_hold_so_many_tokens(n_tokens, n_rows):
    assert rows_holding([5, 0, 3, 1], n_tokens, "train") == n_rows


def test_asking_for_more_tokens_than_there_are_names_both_numbers():
    with pytest.raises(InputError, match=r"The test split has 9 tokens and .* asks for 10"):
        rows_holding([5, 0, 3, 1], 10, "test")


def test_excluded_ids_are_told_from_all_others():
    tokens = torch.tensor([[1, 5, 6, 0], [1, 7, 0, 0]], dtype=torch.int32)
    assert kept_mask(tokens, (0, 1)).tolist() == [
        [False, True, True, False],
        [False, True] + [False] * 2,
    ]
    assert kept_mask(tokens, ()).all()
    assert kept_mask(tokens.to(torch.uint8), (256, 1)).tolist() == kept_mask(tokens, (1,)).tolist()


def file_of(rows, inside=None, **ids):
    """Rows in words: ^ is BOS, $ the end of a text, _ padding, ? another special token."""
    numbers = {"_": 0, "^": 1, "$": 2, "?": 3} | {letter: 4 + n for n, letter in enumerate("abc")}
    tokens = torch.tensor([[numbers[each] for each in row] for row in rows])
    ids = {"bos_id": 1, "eos_id": 2, "pad_id": 0, "special_ids": (3,)} | ids
    inside = None if inside is None else torch.tensor(inside).bool()
    return TokenFile(tokens, Vocabulary("abc", 7, **ids), "here", "abc", inside)


def marks(mask):
    return ["".join("x" if each else "." for each in row) for row in mask.tolist()]


def test_special_tokens_and_what_comes_first_are_not_analysed():
    file = file_of(["^abc", "abca", "a^b$", "$ab?", "^a__", "?abc"])
    assert marks(file.kept) == [".xxx", ".xxx", "..x.", ".xx.", ".x..", ".xxx"]
    assert file.kept_per_row.tolist() == [3, 3, 1, 2, 1, 3]
    # The prediction of every analysed token counts.
    assert marks(file.scored) == ["xxx", "xxx", ".x.", "xx.", "x..", "xxx"]


def test_what_follows_a_bos_inside_a_document_is_not_scored():
    rows = ["^abc", "^abc", "abca", "$abc"]
    file = file_of(rows, inside=[False, True, True, True])
    assert marks(file.scored) == ["xxx", ".xx", "xxx", "xxx"]
    assert marks(file.kept) == [".xxx"] * 4  # but it is analysed


def test_a_vocabulary_without_special_tokens_keeps_all_but_the_first():
    file = file_of(["abca", "cbac"], bos_id=None, eos_id=None, pad_id=None, special_ids=())
    assert file.vocabulary.excluded_ids == ()
    assert marks(file.kept) == [".xxx"] * 2
    assert marks(file.scored) == ["xxx"] * 2


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
def test_any_number_of_rows_at_once_gives_the_same(monkeypatch, rows_at_once):
    monkeypatch.setattr(token_files, "ROWS_AT_ONCE", rows_at_once)
    tokens = torch.randint(9, (7, 5), generator=torch.Generator().manual_seed(0))
    file = TokenFile(tokens.to(torch.uint8), Vocabulary("x", 9, 1, 0, 2, (5, 6)), "here", "abc")
    expected = [[column > 0 and token not in (0, 1, 2, 5, 6) for column, token in enumerate(row)]
                for row in tokens.tolist()]  # fmt: skip
    assert file.kept.tolist() == expected
    assert file.kept_per_row.tolist() == [sum(row) for row in expected]


@pytest.mark.parametrize(("bos_id", "pad_id"), [(1, 0), (0, None), (None, None), (2, 2)])
@pytest.mark.parametrize("inside", [None, [True, False, True]])
def test_a_token_file_comes_back_as_written(tmp_path, bos_id, pad_id, inside):
    tokens = torch.arange(12, dtype=torch.int64).reshape(3, 4)
    vocabulary = Vocabulary("words", 12, bos_id, pad_id, eos_id=3, special_ids=(1, 3))
    inside = None if inside is None else torch.tensor(inside)
    written = TokenFile(tokens, vocabulary, "here", "abc", inside)
    write_tokens(tmp_path / "t.safetensors", written)
    file = read_tokens(tmp_path / "t.safetensors")
    assert file.tokens.dtype == torch.int32
    assert file.tokens.tolist() == tokens.tolist()
    assert (file.vocabulary, file.source, file.source_sha256) == (vocabulary, "here", "abc")
    assert (file.inside is None) == (inside is None)
    assert torch.equal(file.scored, written.scored)
    assert file.kept_per_row.tolist() == file.kept.sum(1).tolist()


def test_a_token_file_of_an_earlier_version_is_refused(tmp_path):
    old = {"tokenizer": "t", "vocab_size": "5", "source": "s", "source_sha256": "0", "bos_id": ""}
    save_tensors(tmp_path / "t.safetensors", {"tokens": torch.zeros(1, 4)}, old)
    with pytest.raises(InputError, match=r"not a token file of this version .* Delete it and run"):
        read_tokens(tmp_path / "t.safetensors")


@pytest.mark.parametrize("at_once", [1, 8, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_numbers_are_widened_as_safetensors_would_write_them(tmp_path, monkeypatch, dtype, at_once):
    monkeypatch.setattr(tensors, "WIDENED_NUMBERS", at_once)
    rows = torch.randint(256, (7, 10), dtype=dtype)[:, ::2]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    list_of = torch.tensor([True, False, True])
    tensors.save_integers(ours, {"tokens": rows, "inside": list_of}, {"source": 'Ü"'})
    both = {"tokens": rows.to(torch.int32).contiguous(), "inside": list_of.to(torch.int32)}
    save_file(both, theirs, {"source": 'Ü"'})
    assert ours.read_bytes() == theirs.read_bytes()


def test_another_kind_of_file_is_named(tmp_path):
    save_tensors(tmp_path / "t.safetensors", {"layer.0": torch.zeros(1)})
    with pytest.raises(InputError, match=r"t\.safetensors is not a token file"):
        read_tokens(tmp_path / "t.safetensors")
