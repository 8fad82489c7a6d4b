"""Decoder similarity: identical SAEs, permuted ones, orthogonal ones, and the floor."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clustersae.features.similarity import compare, similarity_rows


def unit_rows(n, d_model=32, seed=0):
    return F.normalize(torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed)))


def rows_by_kind(arm, own, other, limit=100):
    found = similarity_rows(arm, own, other, np.random.default_rng(0), limit)
    return {row["kind"]: row for row in found}


@pytest.mark.parametrize(("limit", "matching"), [(100, "hungarian"), (10, "greedy")])
def test_identical_saes_are_as_similar_as_can_be(limit, matching):
    rows = unit_rows(24)
    shuffled = rows[torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    found = rows_by_kind(rows, shuffled, rows, limit)
    for kind in ("arm", "ceiling"):
        assert found[kind]["mean_max_cosine"] == pytest.approx(1)
        assert found[kind]["matched_cosine"] == pytest.approx(1)
        assert (found[kind]["matching"], found[kind]["n_latents"]) == (matching, 24)
    assert found["floor"]["mean_max_cosine"] < 0.6
    assert list(found) == ["arm", "ceiling", "floor"]


def test_cosines_worked_by_hand():
    # Both of one side are nearest to the same row of the other; a matching may use it only once.
    own = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    other = torch.tensor([[0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    found = compare(own, other, 100)
    assert found["mean_max_cosine"] == pytest.approx((0.8 + 0.96) / 2)
    assert found["matched_cosine"] == pytest.approx((0.0 + 0.96) / 2)
    # Three against two: as many pairs as the smaller side has.
    found = compare(torch.eye(3), torch.eye(3)[:2], 100)
    assert found["mean_max_cosine"] == pytest.approx(2 / 3)
    assert found["matched_cosine"] == pytest.approx(1)


def test_unrelated_directions_are_at_the_floor():
    found = rows_by_kind(unit_rows(400, seed=1), unit_rows(400, seed=2), unit_rows(300, seed=3), 1)
    floor = found["floor"]["mean_max_cosine"]
    assert found["arm"]["mean_max_cosine"] == pytest.approx(floor, abs=0.01)
    assert found["ceiling"]["mean_max_cosine"] == pytest.approx(floor, abs=0.01)
    assert found["floor"]["n_latents"] == 400


def test_dead_saes_have_no_similarity():
    found = rows_by_kind(unit_rows(0), unit_rows(5), unit_rows(5))
    assert np.isnan([found["arm"]["mean_max_cosine"], found["arm"]["matched_cosine"]]).all()
    assert found["arm"]["n_latents"] == 0
    found = rows_by_kind(unit_rows(5), unit_rows(5), unit_rows(0))
    assert np.isnan(found["arm"]["mean_max_cosine"])
