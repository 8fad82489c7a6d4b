"""What is kept by how much is asked for, and latents that were matched between layers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clustersae.experiment.arms import Arm
from clustersae.features.matched import Alone, partners
from clustersae.features.meaning import Scores, kept_row, sweep_rows
from clustersae.features.shares import SHARES
from clustersae.features.sweep import sweep_table
from clustersae.latents.decoders import Decoders


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
        found = partners(saes, decoders, limit)
        there, back = found[0, 5], found[5, 0]
        assert there[3] == -1
        others = np.flatnonzero(live)
        assert (order.numpy()[there[others]] == others).all()
        assert (back[there[others]] == others).all()
        assert (back == -1).sum() == 1


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
