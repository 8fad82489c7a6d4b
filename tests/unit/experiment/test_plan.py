"""From a configuration and partitions.json to the arms and SAEs that are trained."""

import json

import pytest
from plan_settings import description, nested, plan_settings

from clustersae.experiment.clusters import parent, start_of
from clustersae.experiment.plan import read_plan
from clustersae.experiment.planning import candidates, make_pilots, make_plan
from clustersae.runtime.errors import InputError

N_LAYERS = 4
# 0-3 is halved into 0-1 and 2-3, those into single layers, the first one first.
DESCRIPTION = description(N_LAYERS, "complete", "average", "even", "random")
DESCRIPTION["partitions"] |= {
    f"random-{count}.1": DESCRIPTION["partitions"][f"random-{count}"] for count in (2, 3)
}
SAE = plan_settings([0, 1])["sae"]


def asked(shared_fraction=0.5, controls=(), control_counts=(), draws=1, **arms):
    """Settings; by default the per-layer baseline and two SAEs."""
    shared = {"counts": arms.pop("counts", [2]), "methods": arms.pop("methods", ["complete"])}
    own = {"methods": list(controls), "counts": list(control_counts), "draws": draws}
    settings = plan_settings([0, 1], **{"shared": shared, "controls": own, **arms})
    settings["sae"]["specialise"]["shared_fraction"] = shared_fraction
    return settings


def planned(settings, auto=None):
    return make_plan(DESCRIPTION, settings, auto)


def names(settings, auto=None):
    return [arm.name for arm in planned(settings, auto).arms]


def test_the_baseline_comes_first_and_is_there_unasked():
    assert names(asked(per_layer=[])) == ["per-layer", "complete-2"]
    assert planned(asked()).arms[0].role == "baseline"


def test_partitions_that_every_method_shares_are_one_arm():
    settings = asked(
        methods=["complete", "average"], controls=["even"], control_counts=[3], counts=[1, 3, 4]
    )
    assert names(settings) == ["per-layer", "single", "complete-3", "average-3", "even-3"]
    roles = {arm.name: arm.role for arm in planned(settings).arms}
    assert roles["single"] == "main"
    assert roles["average-3"] == "alternative"


def test_controls_have_their_own_counts_and_draws():
    settings = asked(controls=["even", "random"], control_counts=[3, 4], draws=2)
    assert names(settings) == ["per-layer", "complete-2", "even-3", "random-3", "random-3.1"]


@pytest.mark.parametrize(
    ("auto", "more"),
    [
        ({"family": "shared", "entry": 3}, ["complete-3"]),
        ({"family": "shared", "entry": 2}, []),
        (
            {"family": "specialised", "entry": {"from": 2, "budgets": [0.5]}},
            ["per-layer (tokens-1of2)", "per-layer@complete-2 (tokens-1of4@equal-exposure-1of4)"],
        ),
        ({"family": None, "entry": None}, []),
    ],
)
def test_what_pilots_have_chosen_is_one_arm_more(auto, more):
    assert names(asked(auto=["shared", "specialised"]), auto) == ["per-layer", "complete-2", *more]


def test_pilots_stand_for_every_candidate_at_a_fraction_of_its_training():
    settings = asked(auto=["shared", "specialised"])
    pilots = make_pilots(DESCRIPTION, settings)
    assert pilots.arms[0].name == "per-layer (tokens-1of10)"
    found = candidates(DESCRIPTION, settings)
    assert [each.pilot for each in found] == list(pilots.arms[1:])
    spent = [each.pilot.matched_count for each in found]
    assert spent == sorted(spent), "cheapest first"
    assert {each.entry for each in found if each.family == "shared"} == {1, 2, 3}
    for each in found:
        if each.family == "specialised":
            (budget,), root = each.entry["budgets"], each.entry["from"]
            expected = pytest.approx(0.1 * budget * N_LAYERS, rel=0.02)
            assert each.pilot.matched_count == expected
            assert len({name for _, name in each.pilot.trained if "@" not in name}) == root
    assert candidates(DESCRIPTION, asked()) == []


def test_budgets_are_per_layer_arms_none_twice():
    # 4 of 4 layers is the baseline.
    assert names(asked(per_layer=[0.5, 1, 2], narrower=[0.5])) == [
        *("per-layer", "complete-2", "per-layer (tokens-1of2)", "per-layer (tokens-2of1)"),
        "per-layer (narrower-1of2)",
    ]


def test_equal_exposure_of_single_layers_is_no_arm():
    assert names(asked(equal_exposure=[2, 4])) == [
        *("per-layer", "complete-2", "complete-2 (equal-exposure)")
    ]


def test_specialised_arms_bring_per_layer_ones_of_the_same_budgets():
    plan = planned(asked(specialised=[{"from": 1, "budgets": [0.5, 1, 1.5]}]))
    arms = {arm.name: arm for arm in plan.arms}
    assert list(arms) == [
        *("per-layer", "complete-2", "per-layer (tokens-1of2)", "per-layer (tokens-3of2)"),
        # Half of the budget of 2, 4 and 6 goes to the root, half to 4 SAEs.
        "per-layer@single (tokens-1of4@equal-exposure-1of4)",
        "per-layer@single (tokens-1of2@equal-exposure-1of2)",
        "per-layer@single (tokens-3of4@equal-exposure-3of4)",
    ]
    for budget, equal in ((2, "tokens-1of2"), (6, "tokens-3of2")):
        same = [name for name, arm in arms.items() if arm.matched_count == budget]
        assert f"per-layer ({equal})" in same
        assert sum(arms[name].role == "specialised" for name in same) == 1
    baseline, *specialised = plan.corresponding_arms
    assert baseline == ("base", "per-layer")
    assert len(specialised) == 3
    assert planned(asked()).corresponding_arms == []


def test_an_arm_that_two_entries_ask_for_is_one():
    entries = [{"from": 1, "budgets": [0.5, 1]}, {"from": 1, "budgets": [0.5]}]
    assert names(asked(specialised=entries))[3:] == [
        "per-layer@single (tokens-1of4@equal-exposure-1of4)",
        "per-layer@single (tokens-1of2@equal-exposure-1of2)",
    ]


def test_the_shared_fraction_decides_what_the_roots_get():
    settings = asked(specialised=[{"from": 1, "budgets": [0.5]}], shared_fraction=0.25)
    assert names(settings)[-1] == "per-layer@single (tokens-3of8@equal-exposure-1of8)"


def test_every_sae_is_trained_once_with_what_it_starts_from():
    plan = planned(
        asked(
            per_layer=[1, 0.5],
            equal_exposure=[2],
            counts=[1, 2, 3],
            specialised=[{"from": root, "budgets": [0.5, 1]} for root in (1, 2, 3)],
        )
    )
    trained, evaluated = plan.trained_saes, plan.evaluated_saes
    assert len(set(trained)) == len(trained)
    assert len(set(evaluated)) == len(evaluated)
    assert set(trained) == {sae for arm in plan.arms for sae in arm.trained}
    assert set(evaluated) == {sae for arm in plan.arms for sae in arm.saes}
    for variant, name in trained:
        assert not parent(name) or (parent(variant), parent(name)) in trained
    # Roots that serve no layer themselves need no evaluation.
    assert ("equal-exposure-1of4", "0-3") in trained
    assert ("equal-exposure-1of4", "0-3") not in evaluated
    assert ("tokens-1of4@equal-exposure-1of4", "2@0-3") in evaluated


def test_arms_of_the_same_saes_are_measured_once():
    # Every method's partitions are alike here, and the order of clusters says nothing.
    partitions = dict(DESCRIPTION["partitions"])
    clusters = partitions["even-3"]["clusters"]
    partitions["even-3"] = {"method": "even", "clusters": clusters[::-1]}
    settings = asked(controls=["even", "random"], counts=[2, 3], control_counts=[3])
    plan = make_plan({**DESCRIPTION, "partitions": partitions}, settings)
    assert [arm.name for arm in plan.arms] == [
        *("per-layer", "complete-2", "complete-3", "even-3", "random-3")
    ]
    assert plan.measured_arms == [
        *(("base", "per-layer"), ("base", "complete-2"), ("base", "complete-3"))
    ]
    record = {arm["name"]: arm["measured_as"] for arm in plan.as_json(settings["sae"])["arms"]}
    assert record["random-3"] == record["even-3"] == "complete-3"


def test_roots_of_specialised_arms_can_be_looked_at_though_they_are_no_arms():
    plan = planned(asked(counts=[1], specialised=[{"from": 1, "budgets": [0.25, 0.5]}]))
    arms = {(arm.variant, arm.partition) for arm in plan.arms}
    # Half of 0.25 and of 0.5 of four trainings.
    assert [(each.variant, each.saes) for each in plan.root_arms] == [
        (variant, ((variant, "0-3"),)) for variant in ("equal-exposure-1of8", "equal-exposure-1of4")
    ]
    assert ("equal-exposure-1of8", "single") not in arms
    assert plan.arm("equal-exposure-1of8", "single").matched_count == 0.5
    assert plan.arm("base", "single").role == "main"
    assert all(pair != ("equal-exposure-1of8", "single") for pair in plan.measured_arms)


def test_browsed_are_arms_of_the_kinds_asked_for_with_roots_and_none_twice():
    plan = planned(
        asked(
            counts=[1], specialised=[{"from": 1, "budgets": [0.25, 0.5]}], per_layer=[1, 0.5],
            controls=["random"], control_counts=[2],
        )
    )  # fmt: skip
    assert plan.browsed_arms(["per-layer", "shared"]) == [("base", "per-layer"), ("base", "single")]
    every = plan.browsed_arms(["per-layer", "shared", "specialised"])
    assert len(every) == len(set(every))
    assert [pair for pair in every if "@" not in pair[1]] == [
        *(("base", "per-layer"), ("base", "single")),
        *(("equal-exposure-1of8", "single"), ("equal-exposure-1of4", "single")),
    ]
    assert sum("@" in partition for _, partition in every) == 2
    assert plan.browsed_arms([]) == []


def test_a_root_of_one_layer_is_no_sae_apart_from_what_it_has_become():
    plan = planned(asked(specialised=[{"from": 3, "budgets": [0.5]}]))
    (root,) = plan.root_arms
    assert [name for _, name in root.saes] == [name for name in nested(N_LAYERS, 3) if "-" in name]


def test_a_plan_is_the_same_after_it_was_a_file(tmp_path):
    settings = asked(counts=[1, 2], specialised=[{"from": 2, "budgets": [0.5]}])
    plan = planned(settings, {"family": "shared", "entry": 3})
    (tmp_path / "plan.json").write_text(json.dumps(plan.as_json(settings["sae"])))
    assert read_plan(tmp_path / "plan.json") == plan
    assert plan.arm("base", "single").count == 1
    with pytest.raises(KeyError, match="single"):
        plan.arm("equal-exposure-1of8", "single")


def test_the_record_says_what_each_sae_is_trained_on_and_from():
    settings = asked(specialised=[{"from": 1, "budgets": [0.5]}])
    record = planned(settings).as_json(settings["sae"])
    saes = {(each["variant"], each["sae"]): each for each in record["saes"]}
    child = saes["tokens-1of4@equal-exposure-1of4", "2@0-3"]
    assert child["layers"] == [2]
    assert child["starts_from"] == ["equal-exposure-1of4", "0-3"]
    assert child["training_tokens"] == 195 * 128  # 25,000 in whole batches
    root = saes["equal-exposure-1of4", "0-3"]
    assert root["starts_from"] is None
    assert root["training_tokens"] == 781 * 128  # a quarter of 100,000 at each of four layers
    (budget,) = (each["budget"] for each in record["arms"] if each["role"] == "specialised")
    assert budget == 0.5


def test_more_clusters_than_layers_are_refused():
    for settings in (
        asked(counts=[5]),
        asked(specialised=[{"from": 5, "budgets": [0.5]}]),
        asked(equal_exposure=[5]),
    ):
        with pytest.raises(InputError, match="use counts from 1 to 4"):
            planned(settings)


def test_less_than_a_batch_is_refused_before_anything_is_trained():
    settings = asked(per_layer=[0.001])
    with pytest.raises(InputError, match="one batch of 128 for variant tokens-1of1000"):
        planned(settings)


def chain_of(plan, partition):
    """The SAEs of a partition's only arm: layer → what it is trained on and starts from."""
    (arm,) = [arm for arm in plan.arms if arm.partition == partition]
    records = {(each["variant"], each["sae"]): each for each in plan.as_json(SAE)["saes"]}
    return arm, {name: records[variant, name] for variant, name in arm.saes}


def test_transfers_by_hand():
    """Half of 4 x 100,000 activations: 100,000 for the first layer, a third of that for others."""
    plan = planned(asked(transfer={"directions": ["forwards", "backwards"], "budgets": [0.5]}))
    assert [arm.name for arm in plan.arms[2:]] == [
        "per-layer (tokens-1of2)",
        "transfer-forwards (tokens-1of3~base)",
        "transfer-backwards (tokens-1of3~base)",
    ]
    arm, saes = chain_of(plan, "transfer-forwards")
    assert (arm.role, arm.method, arm.count) == ("rival", "transfer-forwards", 4)
    assert arm.matched_count == pytest.approx(2)
    variant = "tokens-1of3~base"
    assert {name: each["starts_from"] for name, each in saes.items()} == {
        "0": None,
        "1~0": ["base", "0"],
        "2~0-1": [variant, "1~0"],
        "3~0-2": [variant, "2~0-1"],
    }
    # 33,333 are 260.4 batches of 128.
    tokens = [each["training_tokens"] for each in saes.values()]
    assert tokens == [781 * 128, 260 * 128, 260 * 128, 260 * 128]
    assert [each["layers"] for each in saes.values()] == [[0], [1], [2], [3]]
    _, back = chain_of(plan, "transfer-backwards")
    assert {name: each["starts_from"] for name, each in back.items()} == {
        "0~1-3": [variant, "1~2-3"],
        "1~2-3": [variant, "2~3"],
        "2~3": ["base", "3"],
        "3": None,
    }
    # The first of each chain is the full per-layer SAE, which is trained once.
    assert plan.trained_saes.count(("base", "0")) == plan.trained_saes.count(("base", "3")) == 1


def test_every_sae_of_a_chain_is_trained_before_the_next():
    plan = planned(asked(transfer={"directions": ["backwards"], "budgets": [0.3, 1]}))
    for arm in plan.arms:
        if arm.role == "rival":
            assert set(arm.trained) == set(arm.saes), "a chain needs no SAE that serves no layer"
            for sae in arm.saes:
                assert start_of(*sae) is None or start_of(*sae) in arm.saes
    assert plan.arm("base~base", "transfer-backwards").matched_count == 4
    with pytest.raises(InputError, match=r"a budget of 0\.25, but the first of 4 SAEs"):
        planned(asked(transfer={"directions": ["forwards"], "budgets": [0.25]}))


def test_a_multi_layer_sae_reads_every_token_at_every_layer():
    plan = planned(asked(mlsae=[1, 0.5]))
    full, half = (arm for arm in plan.arms if arm.role == "rival")
    assert [arm.name for arm in (full, half)] == ["single (mlsae-1of1)", "single (mlsae-1of2)"]
    assert (full.saes, half.saes) == ((("mlsae-1of1", "0-3"),), (("mlsae-1of2", "0-3"),))
    assert (full.method, full.count) == ("mlsae", 1)
    # As much as four full SAEs, and as their half, which is there to be compared with.
    assert (full.matched_count, half.matched_count) == (4, 2)
    assert "per-layer (tokens-1of2)" in [arm.name for arm in plan.arms]
    trained = {each["sae"] + each["variant"]: each for each in plan.as_json(SAE)["saes"]}
    assert trained["0-3mlsae-1of1"]["training_tokens"] == 3125 * 128
    assert trained["0-3mlsae-1of2"]["starts_from"] is None


def test_crosscoders_read_clusters_and_leave_single_layers_to_saes():
    plan = planned(asked(crosscoder={"counts": [1, 3], "budgets": [0.5, 1]}))
    rivals = {arm.name: arm for arm in plan.arms if arm.role == "rival"}
    assert list(rivals) == [
        *("single (crosscoder-1of2)", "single (crosscoder-1of1)"),
        *("complete-3 (crosscoder-1of2)", "complete-3 (crosscoder-1of1)"),
    ]
    half, whole, three, full = rivals.values()
    assert half.saes == (("crosscoder-1of2", "0-3"),)
    alone = [("tokens-1of2", "0"), ("tokens-1of2", "1")]
    assert sorted(three.saes) == [("crosscoder-1of2", "2-3"), *alone]
    assert sorted(full.saes) == [("base", "0"), ("base", "1"), ("crosscoder-1of1", "2-3")]
    assert {arm.method for arm in rivals.values()} == {"crosscoder"}
    # As much as all full SAEs, and as their half, which is there to be compared with.
    assert [arm.matched_count for arm in (half, whole, three, full)] == [2, 4, 2, 4]
    assert "per-layer (tokens-1of2)" in [arm.name for arm in plan.arms]
    trained = {each["sae"] + each["variant"]: each for each in plan.as_json(SAE)["saes"]}
    steps = round(SAE["training_tokens"] / 2 / 128)
    assert trained["0-3crosscoder-1of2"]["training_tokens"] == steps * 128 * 4
    # Circuits, features, probes and exports are of SAEs alone; the plan's file says the same.
    assert not set(rivals) & {arm.name for arm in plan.coded_arms}
    assert ("crosscoder-1of2", "single") in plan.measured_arms
    assert ("crosscoder-1of2", "single") not in plan.interpreted_arms
    assert plan.exported_saes == [sae for sae in plan.evaluated_saes if "crosscoder" not in sae[0]]


def test_rivals_come_after_all_other_arms_and_change_none_of_them():
    alone = planned(asked(per_layer=[1, 0.5], specialised=[{"from": 1, "budgets": [0.5]}]))
    both = planned(
        asked(
            per_layer=[1, 0.5],
            specialised=[{"from": 1, "budgets": [0.5]}],
            transfer={"directions": ["forwards"], "budgets": [0.5]},
            mlsae=[0.5],
            crosscoder={"counts": [1], "budgets": [0.5]},
        )
    )
    assert both.arms[: len(alone.arms)] == alone.arms
    assert {arm.role for arm in both.arms[len(alone.arms) :]} == {"rival"}
