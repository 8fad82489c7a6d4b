import logging

import pytest
import torch

from clustersae.corpora import likeness
from clustersae.corpora.likeness import surprises, warn_of_difference
from clustersae.corpora.tokens import SPLITS


def rows(share, n_rows, seed):
    """Rows of 50 tokens: 1 with probability `share`, else one of 2 to 9."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(n_rows, 50, generator=generator) < share
    others = torch.randint(2, 10, (n_rows, 50), generator=generator)
    return torch.where(common, 1, others).int()


def test_the_surprise_is_that_of_shares_counted_by_hand():
    # Of 6 training tokens and one more of each of 3 ids: shares 4/9, 3/9, 2/9.
    train = torch.tensor([[0, 0, 0], [1, 1, 2]])
    splits = {"train": train, "validation": torch.tensor([[0, 1]]), "test": torch.tensor([[2, 2]])}
    found = surprises(splits, 3)
    assert found["validation"].nats == pytest.approx(-torch.tensor([4 / 9, 3 / 9]).log().mean())
    assert found["test"].nats == pytest.approx(-torch.tensor(2 / 9).log())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rows", [1, 2, 30, 500])
def test_parts_of_one_text_are_alike(caplog, seed, n_rows):
    splits = {split: rows(0.7, n_rows, 10 * seed + n) for n, split in enumerate(SPLITS)}
    assert not warn_of_difference(surprises(splits, 10))
    assert not caplog.records


def test_another_kind_of_text_is_told_with_the_remedy(caplog, capsys, monkeypatch):
    monkeypatch.setattr(likeness, "ROWS_AT_ONCE", 7)
    splits = {"train": rows(0.7, 200, 0), "validation": rows(0.7, 30, 1), "test": rows(0.2, 30, 2)}
    with caplog.at_level(logging.WARNING):
        assert warn_of_difference(surprises(splits, 10))
    assert "shuffle the documents (corpus.shuffle)" in caplog.text
    assert capsys.readouterr().err.startswith("warning: Validation and test are texts of differe")
