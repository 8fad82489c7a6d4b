"""Which jobs share a job of a cluster."""

from collections import Counter
from graphlib import TopologicalSorter
from types import SimpleNamespace

import pytest
from plan_settings import description, plan_settings

from clustersae.experiment.clusters import start_of
from clustersae.experiment.groups import Groups
from clustersae.experiment.planning import make_pilots, make_plan

DESCRIPTION = description(8, "complete")
SETTINGS = plan_settings(
    seeds=[0, 1, 2],
    **{"per_layer": [1, 0.5], "narrower": [0.5], "equal_exposure": [2], "mlsae": [1]},
    shared={"counts": [1, 2, 3], "methods": ["complete"]},
    specialised=[{"from": 1, "budgets": [0.5]}, {"from": 3, "budgets": [0.5]}],
    transfer={"directions": ["forwards", "backwards"], "budgets": [0.5, 1]},
    crosscoder={"counts": [1], "budgets": [0.5]},
    auto=["shared"],
)
PLAN = make_plan(DESCRIPTION, SETTINGS)
PILOTS = make_pilots(DESCRIPTION, SETTINGS)


def groups(sizes, pilots=None):
    """And the kinds of groups that it writes down."""
    inputs = SimpleNamespace(
        plan=lambda wildcards: PLAN,
        pilots=lambda wildcards: pilots,
        streams=lambda model: model == "streamed",
    )
    kinds: dict[str, str] = {}
    return Groups(inputs, lambda: sizes, kinds), kinds


def wildcards(**given):
    return SimpleNamespace(model="m", **given)


def test_trainings_that_wait_for_shards_share_no_job():
    found, _ = groups({"train_sae": 2})
    own = SimpleNamespace(model="streamed", variant="base", sae="0", seed=0)
    assert found.of_trainings("train_sae")(own) is None


@pytest.mark.parametrize("size", [2, 3, 5, 100])
def test_no_group_of_trainings_waits_for_one_that_waits_for_it(size):
    found, kinds = groups({"train_sae": size})
    name = found.of_trainings("train_sae")
    waiting: dict[str, set[str]] = {}
    members: Counter[str] = Counter()
    for variant, sae in PLAN.trained_saes:
        for seed in SETTINGS["sae"]["seeds"]:
            own = name(wildcards(variant=variant, sae=sae, seed=seed))
            members[own] += 1
            waiting.setdefault(own, set())
            if seed:  # the first seed chooses the learning rate
                waiting[own].add(name(wildcards(variant=variant, sae=sae, seed=0)))
            if start := start_of(variant, sae):
                waiting[own].add(name(wildcards(variant=start[0], sae=start[1], seed=seed)))
    list(TopologicalSorter({key: each - {key} for key, each in waiting.items()}).static_order())
    assert max(members.values()) <= size
    assert kinds == dict.fromkeys(members, "train_sae")
    assert len(members) < 2 * members.total() / min(size, 8)


def test_saes_and_arms_go_by_the_order_of_the_plan():
    found, kinds = groups({"evaluate_reconstruction": 4, "evaluate_circuits": 3})
    of_saes = found.of_saes("evaluate_reconstruction")
    names = [of_saes(wildcards(variant=variant, sae=sae)) for variant, sae in PLAN.trained_saes]
    assert names == [f"evaluate_reconstruction-m-{place // 4}" for place in range(len(names))]
    of_arms = found.of_arms("evaluate_circuits")
    pairs = [(arm.variant, arm.partition) for arm in PLAN.arms[:4]]
    names = [of_arms(wildcards(task="t", variant=own, partition=name)) for own, name in pairs]
    assert names == [f"evaluate_circuits-m-t-{place}" for place in (0, 0, 0, 1)]
    # The control without SAEs belongs to no arm.
    last = len([*PLAN.arms, *PLAN.root_arms]) // 3
    assert of_arms(wildcards(task="t")) == f"evaluate_circuits-m-t-{last}"
    assert of_arms(wildcards()) == f"evaluate_circuits-m-{last}"
    assert set(kinds.values()) == {"evaluate_reconstruction", "evaluate_circuits"}


def test_pilots_share_jobs_with_pilots_alone():
    found, _ = groups({"train_sae": 100, "evaluate_reconstruction": 100}, PILOTS)
    pilots, others = (
        {
            name(wildcards(variant=variant, sae=sae, seed=0))
            for variant, sae in saes
            for name in (found.of_trainings("train_sae"), found.of_saes("evaluate_reconstruction"))
        }
        for saes in (PILOTS.trained_saes, set(PLAN.trained_saes) - set(PILOTS.trained_saes))
    )
    assert pilots
    assert others
    assert not pilots & others


@pytest.mark.parametrize("sizes", [{}, {"train_sae": 1, "evaluate_splice": 1}])
def test_without_a_profile_there_are_no_groups(sizes):
    found, kinds = groups(sizes)
    assert found.of_trainings("train_sae")(wildcards(variant="base", sae="0", seed=0)) is None
    assert found.of_saes("evaluate_reconstruction")(wildcards(variant="base", sae="0")) is None
    arm = wildcards(variant="base", partition="per-layer")
    assert found.of_arms("evaluate_splice")(arm) is None
    assert kinds == {}
