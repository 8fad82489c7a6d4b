"""Agreement of estimated with exact effects, by hand."""

import math

import pandas as pd
import pytest

from clustersae.circuits.table_nodes import found_nodes

#: (latent, effect, exact) by rank.
LATENTS = [(7, 1.0, 1.0), (8, 2.0, 2.0), (9, 3.0, 9.0), (9, 0.5, None)]
ERRORS = [(None, 4.0, -4.0), (None, 5.0, -5.0), (None, 6.0, -6.0)]


def table(*seeds):
    return pd.DataFrame(
        [
            {
                **{"task": "t", "variant": "base", "partition": "single", "seed": seed},
                **{"rank": rank, "latent": latent, "effect": effect, "exact": exact},
            }
            for seed, nodes in enumerate(seeds)
            for rank, (latent, effect, exact) in enumerate(nodes)
        ]
    ).astype({"latent": float, "exact": float})


def test_latents_and_errors_agree_apart():
    row = found_nodes(table(LATENTS + ERRORS), 5).iloc[0]
    # Deviations −1 0 1 and −3 −2 5: 8 / √(2 · 38). Ranks are the same.
    assert row["agreement"] == pytest.approx(8 / math.sqrt(76))
    assert row["rank_agreement"] == pytest.approx(1)
    assert row["agreement_errors"] == pytest.approx(-1)
    assert (row["n_checked"], row["n_checked_errors"]) == (3, 3)
    assert row["error_share"] == pytest.approx(1 / 5)


def test_seeds_are_averaged_where_they_have_a_number():
    turned = [(latent, effect, exact and -exact) for latent, effect, exact in LATENTS]
    row = found_nodes(table(LATENTS + ERRORS, turned), 5).iloc[0]
    assert row["agreement"] == pytest.approx(0)
    assert row["agreement_errors"] == pytest.approx(-1)
    assert (row["n_checked"], row["n_checked_errors"]) == (3, 1.5)
    assert row["error_share"] == pytest.approx((1 / 5 + 0) / 2)


def test_ties_share_their_rank():
    nodes = [(1, 1.0, 1.0), (2, 2.0, 5.0), (3, 3.0, 5.0)]
    # Ranks 1 2 3 and 1 2.5 2.5: deviations −1 0 1 and −1 ½ ½, 1.5 / √(2 · 1.5).
    assert found_nodes(table(nodes), 1)["rank_agreement"][0] == pytest.approx(1.5 / math.sqrt(3))


@pytest.mark.parametrize(
    "nodes", [LATENTS[:2], [(1, 1.0, 2.0), (2, 2.0, 2.0), (3, 3.0, 2.0)]], ids=["few", "equal"]
)
def test_few_or_equal_effects_have_no_correlation(nodes):
    row = found_nodes(table(nodes), 1).iloc[0]
    assert row[["agreement", "rank_agreement", "agreement_errors"]].isna().all()
    assert (row["n_checked"], row["n_checked_errors"]) == (len(nodes), 0)


def test_no_node_leaves_columns_alone():
    found = found_nodes(table(LATENTS)[:0], 1)
    assert found.empty
    assert {"agreement", "rank_agreement", "agreement_errors"} <= set(found.columns)
