"""Specialised arms in the tables: what they cost, and whom they are compared with."""

import pandas as pd
import pytest
from synthetic_results import CACHING_SECONDS, Experiment, write_tables

from clustersae.cost.table import bills_of, cost_table, totals_by_seed
from clustersae.experiment.arms import arm_of
from clustersae.presentation.tables import read_file
from clustersae.runtime.errors import InputError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    experiment = Experiment(
        tmp_path_factory.mktemp("five"),
        n_layers=5,
        counts=(2,),
        specialise=(1, 2),
        budgets=(0.4, 1),
        lengths=(2,),
    )
    return write_tables(experiment)


AT_ONCE = "per-layer@single (tokens-1of5@equal-exposure-1of5)"
BY_TWO = "per-layer@complete-2 (tokens-1of5@equal-exposure-1of5)"
TWICE = "per-layer@single (tokens-1of2@equal-exposure-1of2)"


def test_cost_by_hand_with_every_root_once():
    partitions = {
        name: {"method": "complete", "clusters": clusters}
        for name, clusters in {
            "single": ["0-2"],
            "complete-2": ["0-1", "2"],
            "per-layer": ["0", "1", "2"],
        }.items()
    }
    description = {"n_layers": 3, "partitions": partitions}
    arms = [
        arm_of(description, variant, partition, "complete")
        for variant, partition in (
            ("base", "per-layer"),
            ("tokens-1of4@tokens-1of2", "per-layer@complete-2"),
            ("tokens-1of4@tokens-1of2", "per-layer@single"),
        )
    ]
    seconds = {
        **dict.fromkeys([("base", "0"), ("base", "1"), ("base", "2")], 100.0),
        ("tokens-1of2", "0-1"): 50.0,
        ("tokens-1of4@tokens-1of2", "0@0-1"): 20.0,
        ("tokens-1of4@tokens-1of2", "1@0-1"): 21.0,
        ("tokens-3of4", "2"): 75.0,
        ("tokens-1of2", "0-2"): 55.0,
        ("tokens-1of4@tokens-1of2", "0@0-2"): 22.0,
        ("tokens-1of4@tokens-1of2", "1@0-2"): 23.0,
        ("tokens-1of4@tokens-1of2", "2@0-2"): 24.0,
    }
    same = {"job_seconds": 1.0, "peak_memory_mb": 1.0, "activations": 10.0}
    # Of 100 cached tokens full SAEs read all; shared ones half, and those after them 25 more.
    shard = {"seconds": 5.0, "flops": 0.5, "peak_gpu_memory_mb": None, "n_tokens": 50}
    rows = [{"kind": "caching", **shard, **same}] * 2
    reached = {"base": 100, "tokens-1of2": 50}
    rows += [
        {
            **{"kind": "sae", "variant": variant, "cluster": name, "seed": seed},
            **{"seconds": value + seed, "flops": value, "peak_gpu_memory_mb": value, **same},
            # Rates are tried with the first seed alone.
            **{"tuning_seconds": 2.0 * (seed == 0), "tuning_flops": 3.0 * (seed == 0)},
            "tokens_reached": reached.get(variant, 75),
        }
        for (variant, name), value in seconds.items()
        for seed in (0, 1)
    ]
    rows.append(rows[-1] | {"kind": "pilot", "variant": "tokens-1of10", "cluster": "0-2"})
    cost = cost_table(bills_of(arms, pd.DataFrame(rows))).set_index("arm")
    base, two, one = (arm.name for arm in arms)
    # Seed 1 takes a second longer for every SAE: half of the number of SAEs on average.
    # Every SAE is tuned, once: 2 s each.
    assert cost.loc[base, "total_seconds"] == 10 + 300 + 3 / 2 + 3 * 2
    # Caching 75 of 100 tokens takes 7.5 s, however many SAEs read them.
    assert cost.loc[two, "total_seconds"] == 7.5 + (50 + 20 + 21 + 75) + 4 / 2 + 4 * 2
    assert cost.loc[one, "total_seconds"] == 7.5 + (55 + 22 + 23 + 24) + 4 / 2 + 4 * 2
    # Of two seeds, which are 4 s apart, t of one degree of freedom is 12.7062.
    assert cost.loc[one, "total_seconds_high"] == pytest.approx(141.5 + 12.7062 * 2)
    assert cost.loc[one, "relative"] == pytest.approx((139.5 / 316 * 143.5 / 319) ** 0.5)
    untuned = (131.5 / 310 * 135.5 / 313) ** 0.5
    assert cost.loc[one, "relative_untuned"] == pytest.approx(untuned)
    by_seed = totals_by_seed(bills_of(arms, pd.DataFrame(rows)))["seconds"]
    assert by_seed.loc[one].to_dict() == {0: 139.5, 1: 143.5}
    assert by_seed.mean(axis=1).to_dict() == cost["total_seconds"].to_dict()
    assert cost["n_saes"].to_dict() == {base: 3, two: 4, one: 4}
    # K T with K = 1/2 + 2/4 + 3/4 and 1/2 + 3/4, T = 100.5 s and 2 s of tuning.
    assert cost.loc[two, "predicted_seconds"] == pytest.approx(7.5 + 1.75 * 102.5)
    assert cost.loc[one, "predicted_seconds"] == pytest.approx(7.5 + 1.25 * 102.5)
    assert cost.loc[one, "flops_training"] == 124
    assert cost.loc[one, "flops_total"] == 0.75 + 124 + 4 * 3
    assert cost.loc[one, "relative_flops"] == pytest.approx(136.75 / (1 + 300 + 3 * 3))
    assert cost.loc[one, "activations"] == 40
    assert cost.loc[one, ["job_seconds", "n_seeds"]].tolist() == [0.75 * 2 + 4, 2]
    assert cost.loc[one, "tuning_seconds"] == 4 * 2
    assert cost["peak_gpu_memory_mb"].to_dict() == {base: 100, two: 75, one: 55}
    # The ends between which the ratio lies: caching alone, training alone.
    assert cost["share_read"].to_dict() == {base: 1, two: 0.75, one: 0.75}
    assert cost.loc[one, "relative_caching"] == 0.75
    assert cost.loc[one, "relative_training"] == pytest.approx(126 / 301.5)
    assert (cost["pilot_seconds"] == 0).all()  # who names its K pays for no search

    pilots = [rows[-1] | {"kind": "pilot", "seed": seed} for seed in (0, 1)]
    searched = cost_table(bills_of(arms, pd.DataFrame(rows[:-1] + pilots), one)).set_index("arm")
    # One run of the pilots, 25 s, for the arm that they have found and for no other.
    assert searched["pilot_seconds"].to_dict() == {base: 0, two: 0, one: 25}
    assert searched.loc[one, "total_seconds"] == cost.loc[one, "total_seconds"] + 25
    # Their tuning is paid for as well, and what they read beyond the arm is cached for it.
    pilots = [each | {"tokens_reached": 90} for each in pilots]
    pilots[0] = pilots[0] | {"tuning_seconds": 6.0}
    searched = cost_table(bills_of(arms, pd.DataFrame(rows[:-1] + pilots), one)).set_index("arm")
    assert searched["pilot_seconds"].to_dict() == {base: 0, two: 0, one: 31}
    assert searched["caching_seconds"].to_dict() == {base: 10, two: 7.5, one: 9}
    # Without tuning there are 25 s of pilots and 1.5 s of caching more than without pilots.
    untuned = (158 / 310 * 162 / 313) ** 0.5
    assert searched.loc[one, "relative_untuned"] == pytest.approx(untuned)
    # A pilot that is an SAE of the arm is paid for once.
    pilots = [each | {"variant": "tokens-1of2", "cluster": "0-2"} for each in pilots]
    twice = cost_table(bills_of(arms, pd.DataFrame(rows[:-1] + pilots), one)).set_index("arm")
    assert twice["total_seconds"].to_dict() == cost["total_seconds"].to_dict()

    lacking = [row for row in rows if row.get("cluster") != "1@0-2"]
    with pytest.raises(InputError, match=r"lacks the SAE of cluster 1@0-2 \(variant tokens-1of4"):
        bills_of(arms, pd.DataFrame(lacking))


def test_measured_cost_is_that_of_the_budget(written):
    cost = read_file(written["cost"]).set_index("arm")
    for name in (AT_ONCE, BY_TWO, "per-layer (tokens-2of5)"):
        assert cost.loc[name, "matched_count"] == 2
        # An SAE takes 101 s on average, and in proportion to its share of a training.
        assert cost.loc[name, "total_seconds"] == pytest.approx(CACHING_SECONDS + 2 * 101)
        assert cost.loc[name, "predicted_seconds"] == pytest.approx(CACHING_SECONDS + 2 * 101)
    assert cost.loc[TWICE, "total_seconds"] == pytest.approx(CACHING_SECONDS + 5 * 101)
    assert cost.loc[AT_ONCE, "n_saes"] == 6
    assert cost.loc[BY_TWO, "n_saes"] == 7
    assert set(cost["count"]) == {1, 2, 5}


def test_a_specialised_arm_is_compared_with_per_layer_saes_of_every_length(written):
    rows = read_file(written["comparisons"]).set_index(["arm", "against"])
    per_layer = {
        "per-layer": (5, 1.0),
        "per-layer (tokens-2of5)": (2, 1.03),
        "per-layer (tokens-2of1)": (10, 0.98),
    }
    for arm in (AT_ONCE, BY_TWO, TWICE):
        for against, (matched, scale) in per_layer.items():
            row = rows.loc[(arm, against)]
            assert row["against_matched_count"] == matched
            assert row["matched_count"] == (5 if arm == TWICE else 2)
            assert row["excess_fvu"] == pytest.approx(1.01 / scale - 1)
            assert (row["n_layers"], row["n_seeds"]) == (5, 3)
    # Both spend 2, or 2 against 5.
    assert rows.loc[(BY_TWO, "per-layer (tokens-2of5)"), "cost_ratio"] == pytest.approx(1)
    ratio = (CACHING_SECONDS + 2 * 101) / (CACHING_SECONDS + 5 * 101)
    assert rows.loc[(BY_TWO, "per-layer"), "cost_ratio"] == pytest.approx(ratio)


def test_and_with_whatever_else_spends_the_same(written):
    rows = read_file(written["comparisons"])
    against = rows.groupby("arm")["against"].agg(set).to_dict()
    lengths = {"per-layer", "per-layer (tokens-2of5)", "per-layer (tokens-2of1)"}
    assert against[AT_ONCE] == lengths | {"complete-2", "per-layer (narrower-2of5)"}
    assert against[AT_ONCE] == against[BY_TWO]
    assert against[TWICE] == lengths  # not the clusters at equal exposure, which spend 5 as well
    # Clustered arms keep their own rivals.
    assert against["complete-2"] == {
        *("even-2", "random-2", "complete-2 (equal-exposure)"),
        *("per-layer (tokens-2of5)", "per-layer (narrower-2of5)"),
    }
    roles = rows.set_index("against")["role"].to_dict()
    assert roles["per-layer"] == "baseline"
    assert roles["per-layer (tokens-2of1)"] == roles["per-layer (tokens-2of5)"] == "equal-compute"


def test_a_specialised_arm_is_chosen_where_it_is_the_cheapest_within_the_margins(written):
    arms = read_file(written["arms"]).set_index("arm")
    # Both spend 2 and lose 1 %; one SAE for all loses 20 %, two lose up to 10 %, and spend as much.
    assert list(arms.index[arms["chosen"]]) == [AT_ONCE]
    assert arms.loc[BY_TWO, "excess_fvu"] == pytest.approx(0.01)
    assert arms.loc[BY_TWO, "excess_fvu_worst"] == pytest.approx(0.01)
    assert arms.loc[BY_TWO, "delta_ce_all"] == pytest.approx(0.4 + 0.01 + 0.01)
    quality = read_file(written["layer_quality"])
    own = quality[(quality["arm"] == BY_TWO) & (quality["split"] == "test")]
    assert set(own["cluster"]) == {"0@0-1", "1@0-1", "2@2-4", "3@2-4", "4@2-4"}


def test_roots_have_histories_though_they_serve_no_layer(written):
    training = read_file(written["training"])
    names = set(zip(training["variant"], training["cluster"]))
    assert ("equal-exposure-1of2", "0-4") in names
    assert ("tokens-1of5@equal-exposure-1of5", "3@0-4") in names
