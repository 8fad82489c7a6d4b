"""From a configuration and partitions.json to the arms and SAEs that are trained."""

import pytest
from synthetic_results import nested

from clustersae.experiment.arms import partition_name
from clustersae.experiment.clusters import parent
from clustersae.experiment.plan import (
    candidates,
    evaluated_saes,
    pilot_arms,
    pilot_saes,
    requested_arms,
    requested_partitions,
    settled,
    specialised_pilots,
    spliced_arms,
    trained_saes,
)
from clustersae.runtime.errors import InputError

N_LAYERS = 4
# 0-3 is halved into 0-1 and 2-3, those into single layers, the first one first.
DESCRIPTION = {
    "n_layers": N_LAYERS,
    "partitions": {
        partition_name(method, count, N_LAYERS): {
            "method": method,
            "clusters": nested(N_LAYERS, count),
        }
        for method in ("complete", "average", "even", "random")
        for count in range(1, N_LAYERS + 1)
    },
}


def asked(evaluation=None, shared_fraction=0.5, **clustering):
    return {
        "clustering": {
            "methods": ["complete"],
            "controls": [],
            "counts": [2],
            "control_counts": None,
            "pilot_fraction": 0.1,
            "specialise": [],
            **clustering,
        },
        "sae": {"specialise": {"shared_fraction": shared_fraction}},
        "evaluation": {"equal_compute": [], "equal_exposure": [], "lengths": []}
        | (evaluation or {}),
    }


def names(settings):
    return [arm.name for arm in requested_arms(DESCRIPTION, settings)]


def test_the_baseline_comes_first_and_is_there_unasked():
    assert names(asked()) == ["per-layer", "complete-2"]
    assert requested_arms(DESCRIPTION, asked())[0].role == "baseline"


def test_partitions_that_every_method_shares_are_one_arm():
    settings = asked(methods=["complete", "average"], controls=["even"], counts=[1, 3, 4])
    assert names(settings) == ["per-layer", "single", "complete-3", "average-3", "even-3"]
    roles = {arm.name: arm.role for arm in requested_arms(DESCRIPTION, settings)}
    assert roles["single"] == "main"
    assert roles["average-3"] == "alternative"


def test_controls_have_their_own_counts_where_given():
    settings = asked(controls=["even", "random"], counts=[2, 3], control_counts=[1, 3])
    assert requested_partitions(DESCRIPTION, settings) == [
        *("per-layer", "complete-2", "complete-3", "even-3", "random-3"),
    ]


def test_a_chosen_count_stands_in_for_auto():
    settings = asked(counts="auto", controls=["even"])
    assert names(settled(settings, {"count": 3})) == ["per-layer", "complete-3", "even-3"]
    assert names(settled(settings, {"count": 4})) == ["per-layer"]
    assert settings["clustering"]["counts"] == "auto", "the configuration stays as it is"


def test_a_chosen_way_of_specialising_stands_in_for_auto():
    settings = asked(specialise="auto")
    chosen = settled(settings, None, {"from": 2, "budget": 0.4, "target": 0.02})
    assert names(chosen) == names(asked(specialise=[{"from": [2], "budgets": [0.4]}]))
    assert "per-layer@complete-2" in {arm.partition for arm in requested_arms(DESCRIPTION, chosen)}


def test_pilots_stand_for_every_candidate_at_a_fraction_of_its_training():
    alone, arms = pilot_arms(DESCRIPTION, asked(specialise="auto"))
    assert alone.name == "per-layer (tokens-1of10)"
    assert list(arms) == candidates(N_LAYERS)
    assert {root for root, _ in arms} == {1, 2}
    for (root, budget), arm in arms.items():
        assert arm.matched_count == pytest.approx(0.1 * budget * N_LAYERS, rel=0.02)
        roots = {name for _, name in arm.trained if "@" not in name}
        assert len(roots) == root
    assert specialised_pilots(DESCRIPTION, asked(specialise="auto"))[0] == alone


@pytest.mark.parametrize("n_layers", [2, 3, 12, 48])
def test_candidates_are_fewer_saes_than_layers_and_cheapest_first(n_layers):
    pairs = candidates(n_layers)
    assert all(1 <= root < n_layers for root, _ in pairs)
    assert [budget for _, budget in pairs] == sorted(budget for _, budget in pairs)


def test_equal_compute_and_lengths_are_per_layer_arms_none_twice():
    evaluation = {"equal_compute": [2, 4], "lengths": [0.5, 1, 2]}
    # 2 of 4 layers is the length 1/2; 4 of 4 and the length 1 are the baseline.
    assert names(asked(evaluation)) == [
        *("per-layer", "complete-2", "per-layer (tokens-1of2)", "per-layer (narrower-1of2)"),
        "per-layer (tokens-2of1)",
    ]


def test_equal_exposure_of_single_layers_is_no_arm():
    evaluation = {"equal_exposure": [2, 4]}
    assert names(asked(evaluation)) == ["per-layer", "complete-2", "complete-2 (equal-exposure)"]


def test_specialised_arms_bring_per_layer_ones_of_the_same_budgets():
    settings = asked(specialise=[{"from": [1, "tree"], "budgets": [0.5, 1, 1.5]}])
    arms = {arm.name: arm for arm in requested_arms(DESCRIPTION, settings)}
    assert list(arms) == [
        *("per-layer", "complete-2", "per-layer (tokens-1of2)", "per-layer (tokens-3of2)"),
        # Half of the budget of 2, 4 and 6 goes to the root, half to 4 or (with 0-1, 2-3) 6 SAEs.
        "per-layer@single (tokens-1of4@base)",
        "per-layer@single (tokens-1of2@tokens-2of1)",
        "per-layer@single (tokens-3of4@tokens-3of1)",
        "per-layer@complete-tree (tokens-1of6@base)",
        "per-layer@complete-tree (tokens-1of3@tokens-2of1)",
        "per-layer@complete-tree (tokens-1of2@tokens-3of1)",
    ]
    for budget, equal in ((2, "tokens-1of2"), (6, "tokens-3of2")):
        same = [name for name, arm in arms.items() if arm.matched_count == budget]
        assert f"per-layer ({equal})" in same
        assert sum(arms[name].role == "specialised" for name in same) == 2


def test_entries_have_their_own_budgets_and_an_arm_that_two_ask_for_is_one():
    entries = [{"from": [1], "budgets": [0.5, 1]}, {"from": ["tree", 1], "budgets": [0.5]}]
    assert names(asked(specialise=entries))[3:] == [
        "per-layer@single (tokens-1of4@base)",
        "per-layer@single (tokens-1of2@tokens-2of1)",
        "per-layer@complete-tree (tokens-1of6@base)",
    ]


def test_the_shared_fraction_decides_what_the_roots_get():
    settings = asked(specialise=[{"from": [1], "budgets": [0.5]}], shared_fraction=0.25)
    assert names(settings)[-1] == "per-layer@single (tokens-3of8@tokens-1of2)"


def test_starting_from_single_layers_specialises_nothing():
    assert names(asked(specialise=[{"from": [4], "budgets": [0.5]}])) == [
        *("per-layer", "complete-2", "per-layer (tokens-1of2)"),
    ]


def test_every_sae_is_trained_once_with_all_that_it_starts_from():
    settings = asked(
        {"equal_compute": [2], "equal_exposure": [2]},
        counts=[1, 2, 3],
        specialise=[{"from": [1, 2, 3, "tree"], "budgets": [0.5, 1]}],
    )
    arms = requested_arms(DESCRIPTION, settings)
    trained, evaluated = trained_saes(arms), evaluated_saes(arms)
    assert len(set(trained)) == len(trained)
    assert len(set(evaluated)) == len(evaluated)
    assert set(trained) == {sae for arm in arms for sae in arm.trained}
    assert set(evaluated) == {sae for arm in arms for sae in arm.saes}
    for variant, name in trained:
        assert not parent(name) or (parent(variant), parent(name)) in trained
    # Roots that serve no layer themselves need no evaluation.
    assert ("tokens-2of1", "0-3") in trained
    assert ("tokens-2of1", "0-3") not in evaluated
    # The root of budget 0.5 has a full training: it is the base SAE of `single`.
    assert trained.count(("base", "0-3")) == 1
    assert ("tokens-1of4@base", "2@0-3") in evaluated


def test_every_arm_is_spliced_under_a_name_of_its_own():
    settings = asked(specialise=[{"from": [1, 2], "budgets": [0.5, 1]}])
    arms = requested_arms(DESCRIPTION, settings)
    pairs = spliced_arms(arms)
    assert len(set(pairs)) == len(pairs) == len(arms)
    assert ("base", "complete-2") in pairs
    assert ("tokens-1of4@base", "per-layer@single") in pairs


def test_pilots_are_short_trainings_of_the_main_method_at_every_count():
    clustering = asked(methods=["average", "complete"])["clustering"]
    pilots = pilot_saes(DESCRIPTION, clustering)
    clusters = ["0-3", "0-1", "2-3", "0", "1", "2", "3"]
    assert sorted(pilots) == sorted(("tokens-1of10", name) for name in clusters)
    whole = pilot_saes(DESCRIPTION, clustering | {"pilot_fraction": 1})
    assert {variant for variant, _ in whole} == {"base"}


def test_more_clusters_than_layers_are_refused():
    for settings in (
        asked(counts=[5]),
        asked(specialise=[{"from": [5], "budgets": [0.5]}]),
        asked({"equal_exposure": [5]}),
    ):
        with pytest.raises(InputError, match="use counts from 1 to 4"):
            requested_arms(DESCRIPTION, settings)


def test_arms_of_the_same_saes_are_measured_once():
    # Every method's partitions are alike here, and the order of clusters says nothing.
    partitions = dict(DESCRIPTION["partitions"])
    clusters = partitions["even-3"]["clusters"]
    partitions["even-3"] = {"method": "even", "clusters": clusters[::-1]}
    settings = asked(controls=["even", "random"], counts=[2, 3], control_counts=[3])
    arms = requested_arms({**DESCRIPTION, "partitions": partitions}, settings)
    assert [arm.name for arm in arms] == [
        *("per-layer", "complete-2", "complete-3", "even-3", "random-3"),
    ]
    assert spliced_arms(arms) == [
        *(("base", "per-layer"), ("base", "complete-2"), ("base", "complete-3")),
    ]
