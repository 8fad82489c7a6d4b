"""The table of correspondence, from files whose means are known."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clustersae.correspondence import tabulate
from clustersae.correspondence.measures import CORRESPONDENCE_MEASURES as MEASURES
from clustersae.correspondence.table import CORRESPONDENCE, correspondence_table
from clustersae.experiment.arms import Arm
from clustersae.latents.layer_pairs import layer_pairs
from clustersae.presentation.tables import read_files
from clustersae.runtime.errors import InputError

BELOW = "tokens-1of4@tokens-3of4"
SINGLE = Arm("per-layer@single", BELOW, "specialised", 3, 1.5, "specialised", ())
PAIRED = Arm("per-layer@complete-2", BELOW, "specialised", 3, 1.5, "specialised", ())
MANY = Arm("per-layer@single", BELOW, "specialised", 12, 6, "specialised", ())
BASELINE = Arm("per-layer", "base", "per-layer", 3, 3, "baseline", ())


def row(arm, kind, layer, other, seed, value, n_latents=10):
    return {
        "variant": arm.variant,
        "partition": arm.partition,
        "kind": kind,
        "seed": seed,
        "other_seed": seed,
        "layer": layer,
        "other_layer": other,
        "root": "",
        "matching": "index",
        "n_tokens": 100,
        "n_latents": n_latents,
        "share_alive": 0.9,
        **dict.fromkeys(MEASURES, value if n_latents else np.nan),
        "agreement": value + 0.01 if kind.endswith("_seed") else np.nan,
    }


def family(arm, layers, value=lambda i, j, seed: 0.5, seeds=(0, 1)):
    rows = [row(arm, "ancestor", i, i, seed, 0.8) for i in layers for seed in seeds]
    for i, j in combinations(layers, 2):
        for seed in seeds:
            rows.append(row(arm, "siblings", i, j, seed, value(i, j, seed)))
            rows.append(row(arm, "shuffled", i, j, seed, 0.1))
    return rows


def scratch(seeds=(0, 1)):
    rows = [row(BASELINE, "independent_seed", i, i, 0, 0.4 + i / 10) for i in range(3)]
    for i, j in combinations(range(3), 2):
        rows += [row(BASELINE, "independent", i, j, seed, (i + j) / 10) for seed in seeds]
    return rows


def of(table, arm, kind, distance=None):
    found = table[(table["arm"] == arm.name) & (table["kind"] == kind)]
    found = found[found["distance"].isna() if distance is None else found["distance"] == distance]
    assert len(found) == 1
    return found.iloc[0]


def test_means_are_over_pairs_and_seeds_at_every_distance():
    rows = family(SINGLE, range(3), lambda i, j, seed: 0.9 - 0.2 * (j - i) + 0.1 * seed)
    table = correspondence_table([BASELINE, SINGLE], pd.DataFrame(rows + scratch()))
    near, far = of(table, SINGLE, "siblings", 1), of(table, SINGLE, "siblings", 2)
    assert (near["jaccard"], near["n_pairs"], near["n_seeds"]) == (pytest.approx(0.75), 2, 2)
    assert (far["mean_cosine"], far["n_pairs"]) == (pytest.approx(0.55), 1)
    whole = of(table, SINGLE, "siblings")
    assert whole["jaccard"] == pytest.approx((2 * 0.75 + 0.55) / 3)
    assert whole["jaccard_low"] < whole["jaccard"] < whole["jaccard_high"]
    assert (whole["n_latents"], whole["share_alive"]) == pytest.approx((10, 0.9))
    # The same on every pair and seed: an interval without width.
    ancestor = of(table, SINGLE, "ancestor")
    ends = ancestor[["correlation_low", "correlation", "correlation_high"]]
    assert list(ends) == pytest.approx([0.8] * 3)
    assert ancestor["n_pairs"] == 3
    assert table[table["kind"] == "ancestor"]["distance"].isna().all()


def test_saes_from_scratch_are_taken_on_the_pairs_of_the_arm():
    rows = family(SINGLE, range(3)) + family(PAIRED, (1, 2)) + scratch()
    table = correspondence_table([BASELINE, SINGLE, PAIRED], pd.DataFrame(rows))
    assert of(table, SINGLE, "independent")["jaccard"] == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    only = of(table, PAIRED, "independent")
    assert (only["jaccard"], only["n_pairs"]) == (pytest.approx(0.3), 1)
    again = of(table, PAIRED, "independent_seed")
    assert again["jaccard"] == pytest.approx((0.5 + 0.6) / 2)
    assert (again["n_pairs"], again["n_seeds"]) == (2, 1)
    assert again["agreement"] == pytest.approx((0.51 + 0.61) / 2)
    assert np.isnan(only["agreement"])


def test_pairs_without_common_latents_drop_out():
    rows = [each for each in family(SINGLE, range(3)) if each["kind"] != "siblings"]
    rows += [row(SINGLE, "siblings", 0, 1, seed, 0.4) for seed in (0, 1)]
    rows += [row(SINGLE, "siblings", 0, 2, seed, 0.9, n_latents=10 * seed) for seed in (0, 1)]
    table = correspondence_table([SINGLE], pd.DataFrame(rows + scratch()))
    kept = of(table, SINGLE, "siblings")
    assert (kept["jaccard"], kept["n_pairs"]) == (pytest.approx(0.4), 1)
    assert 2 not in set(table.loc[table["kind"] == "siblings", "distance"])


def of_many(n_layers, seeds, value):
    """Rows of per-layer SAEs of which each seed compared a sample, and of the arm on all layers."""
    rows = family(MANY, range(n_layers), seeds=seeds)
    for seed in seeds:
        pairs = layer_pairs(range(n_layers), np.random.default_rng(seed), 40)
        rows += [row(BASELINE, "independent", i, j, seed, value(i, j, seed)) for i, j in pairs]
        rows += [
            row(BASELINE, "same_start", i, j, seed, 0.1)
            for i, j in combinations(range(n_layers), 2)
        ]
    return pd.DataFrame(rows)


def test_a_sample_of_pairs_tells_the_mean_of_all():
    """What depends on the distance alone, every sample tells exactly."""
    table = correspondence_table([MANY], of_many(12, (0, 1, 2), lambda i, j, seed: (j - i) / 20))
    every = [(j - i) / 20 for i, j in combinations(range(12), 2)]
    whole = of(table, MANY, "independent")
    ends = whole[["jaccard_low", "jaccard", "jaccard_high"]]
    assert list(ends) == pytest.approx([np.mean(every)] * 3)
    assert whole["n_seeds"] == 3
    assert (whole["n_latents"], whole["share_alive"]) == pytest.approx((10, 0.9))
    for distance in range(1, 12):
        assert of(table, MANY, "independent", distance)["jaccard"] == pytest.approx(distance / 20)
    assert of(table, MANY, "same_start")["n_pairs"] == 66


def test_the_interval_has_the_error_of_the_sample():
    """SAEs of all seeds are alike; only which pairs were drawn differs. The truth is covered."""
    truth = np.mean([0.01 * i * j for i, j in combinations(range(12), 2)])
    found = 0
    for first in range(0, 120, 3):
        seeds = range(first, first + 3)
        table = correspondence_table([MANY], of_many(12, seeds, lambda i, j, seed: 0.01 * i * j))
        whole = of(table, MANY, "independent")
        assert whole["jaccard_low"] < whole["jaccard_high"]
        found += whole["jaccard_low"] <= truth <= whole["jaccard_high"]
    assert 35 <= found <= 40  # 38 of 40 are expected


def test_a_seed_whose_sample_has_none_of_an_arm_does_not_count():
    rows = [*family(PAIRED, (1, 2)), row(BASELINE, "independent", 1, 2, 0, 0.3)]
    rows += [row(BASELINE, "independent", 0, 1, 1, 0.5)]
    rows += [row(BASELINE, "independent", 0, 2, seed, 0.7) for seed in (0, 1)]
    table = correspondence_table([PAIRED], pd.DataFrame(rows))
    only = of(table, PAIRED, "independent")
    assert (only["jaccard"], only["n_pairs"], only["n_seeds"]) == (pytest.approx(0.3), 1, 1)
    assert np.isnan(only["jaccard_low"])


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match=r"per-layer@complete-2 .* were not compared"):
        correspondence_table([PAIRED], pd.DataFrame(family(SINGLE, range(3))))
    rows = family(SINGLE, range(3))
    rows.remove(next(each for each in rows if each["kind"] == "siblings"))
    with pytest.raises(InputError, match="different layers"):
        correspondence_table([SINGLE], pd.DataFrame(rows))


def test_files_become_a_table(tmp_path):
    paths = []
    for number, rows in enumerate((family(SINGLE, range(3)), scratch())):
        paths.append(tmp_path / f"{number}.csv")
        pd.DataFrame(rows).to_csv(paths[-1], index=False)
    made = tabulate.tables(SimpleNamespace(arms=[BASELINE, SINGLE]), paths)["correspondence"]
    expected = correspondence_table([SINGLE], read_files(paths, CORRESPONDENCE))
    pd.testing.assert_frame_equal(made, expected)
    assert tabulate.tables(SimpleNamespace(arms=[BASELINE]), paths[1:])["correspondence"].empty
