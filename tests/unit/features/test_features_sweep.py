"""What is kept by how much is asked for, and latents that were matched between layers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from clustersae.experiment.arms import Arm
from clustersae.features.matched import Alone, partners
from clustersae.features.meaning import Scores, gather, kept_row, score, sweep_rows
from clustersae.features.rules import ANY, Clauses, firings_of
from clustersae.features.shares import SHARES
from clustersae.features.sweep import sweep_table
from clustersae.latents.decoders import Decoders
from clustersae.latents.layer_pairs import layer_pairs


def test_shares_of_what_lies_between_floor_and_ceiling():
    """Three latents keep 0.3, 0.6 and 0.95 of 0.4 above the floor, on either layer."""
    left = 0.5 + 0.4 * np.array([0.3, 0.6, 0.95])
    cells = np.stack([[np.full(3, 0.9), left], [left, np.full(3, 0.9)]])
    scores = Scores((0, 1), cells, np.full((2, 2), 0.5))
    rows = sweep_rows(scores, "index")
    assert [row["share"] for row in rows] == list(SHARES)
    assert [row["n_pairs_kept"] for row in rows] == [6, 4, 2, 2]
    assert {row["n_pairs"] for row in rows} == {6}
    assert kept_row(scores)["n_pairs_kept"] == rows[1]["n_pairs_kept"]
    assert sweep_rows(Scores((0,), cells[:1, :1], np.full((1, 1), 0.5)), "index") == []


def test_matching_undoes_a_permutation_and_leaves_dead_latents_alone():
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(12, 30, generator=generator), dim=1)
    order = torch.randperm(12, generator=generator)
    live = np.ones(12, dtype=bool)
    live[3] = False
    first, second = Path("first"), Path("second")
    decoders = Decoders(torch.device("cpu"))
    decoders.hold(first, decoder)
    decoders.hold(second, decoder[order])
    saes = {0: Alone(None, first, live), 5: Alone(None, second, live[order.numpy()])}
    for limit in (100, 1):  # optimal, greedy
        found = partners(saes, [(0, 5)], decoders, limit)
        there, back = found[0, 5], found[5, 0]
        assert there[3] == -1
        others = np.flatnonzero(live)
        assert (order.numpy()[there[others]] == others).all()
        assert (back[there[others]] == others).all()
        assert (back == -1).sum() == 1


def test_a_sample_of_layers_estimates_what_all_of_them_give():
    """What is kept depends on the distance alone, so whichever pairs are drawn tell it exactly."""
    n = 6
    apart = np.abs(np.subtract.outer(range(n), range(n)))
    kept = np.stack([0.95 - 0.1 * apart, np.where(apart == 1, np.nan, 0.9)], -1)
    cells = np.where(apart[..., None] == 0, 0.9, kept)
    layers = tuple(range(10, 10 + n))
    whole = sweep_rows(Scores(layers, cells, np.full((n, n), 0.5)), "matched")
    weights = layer_pairs(layers, np.random.default_rng(0), 8)
    drawn = np.eye(n, dtype=bool)
    for a, b in weights:
        drawn[a - 10, b - 10] = drawn[b - 10, a - 10] = True
    some = Scores(layers, np.where(drawn[..., None], cells, np.nan), np.full((n, n), 0.5))
    for expected, row in zip(whole, sweep_rows(some, "matched", weights)):
        assert row == pytest.approx(expected)
    assert [row["n_pairs"] for row in whole] != [
        row["n_pairs"] for row in sweep_rows(some, "matched")
    ]


def test_layers_that_were_not_drawn_are_not_scored():
    rng = np.random.default_rng(0)
    fires = rng.random((400, 3)) < 0.5
    held = sparse.csr_array(fires.astype(float))
    firings = firings_of(held, held)
    clauses = Clauses(np.arange(3), np.full(3, ANY))
    evidence = dict.fromkeys(range(3), gather(clauses, firings, firings, 1, 20))
    by_index = np.arange(3)
    pairs = {(0, 2): by_index, (2, 0): by_index}
    scores = score(evidence, np.random.default_rng(0), pairs)
    measured = ~np.isnan(scores.of_latents).any(-1)
    assert measured.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert (measured == ~np.isnan(scores.floor)).all()


def test_the_table_pools_groups_and_has_intervals_over_seeds():
    arm = Arm("complete-2", "base", "complete", 2, 2, "main", ())
    rows = pd.DataFrame(
        [
            ("base", "complete-2", seed, group, "index", 0.5, n, kept)
            for seed, kept in enumerate((5, 6, 7))
            for group, n in (("0-1", 10), ("2-3", 20))
        ],
        columns=["variant", "partition", "seed", "group", "pairing", "share", "n_pairs",
                 "n_pairs_kept"],
    )  # fmt: skip
    (row,) = sweep_table([arm], rows).to_dict("records")
    assert row["n_pairs"] == 30
    assert row["share_pairs_kept"] == pytest.approx(12 / 30)
    half = 4.302653 * (2 / 30) / np.sqrt(3)
    assert row["share_pairs_kept_low"] == pytest.approx(0.4 - half)
    assert sweep_table([], rows).empty
