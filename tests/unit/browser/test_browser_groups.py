"""Whose latents are shown, in which order, and what started from what."""

from dataclasses import replace

import pytest
from plan_settings import description, nested, plan_settings
from synthetic_browser import make_invented_plan

from clustersae.browser.groups import shown_groups
from clustersae.experiment.plan import BROWSED
from clustersae.experiment.planning import make_plan

KINDS = list(BROWSED)


def test_roots_and_what_started_there_come_first_and_know_each_other():
    root, special, *alone = shown_groups(make_invented_plan(), KINDS)
    assert (root.group, root.layers, root.root) == ("0-1", [0, 1], None)
    assert (special.group, special.layers, special.root) == ("@0-1", [0, 1], root.number)
    assert special.saes == {0: "0@0-1", 1: "1@0-1"}
    # A root is trained for half of the budget of 1/2, on one SAE: a quarter per layer.
    assert root.arm == "1 shared SAE at 25 % of full training, before specialising"
    assert special.arm == "fine-tuned from 1 SAE at 50 % of full training"
    assert [(each.group, each.arm, each.title) for each in alone] == [
        ("0", "per-layer, full", "layer 0"),
        ("1", "per-layer, full", "layer 1"),
    ]


def test_many_runs_of_layers_are_counted():
    (root, *_) = shown_groups(make_invented_plan(), KINDS)
    every_third = dict.fromkeys(range(0, 30, 3), "0+3+6+9+12+15+18+21+24+27")
    assert replace(root, saes=every_third).title == "10 layers, 0 to 27"
    assert replace(root, saes=dict.fromkeys([0, 1, 4], "0-1+4")).title == "layers 0-1+4"


def test_without_specialised_arms_nothing_is_measured_for_them():
    assert [each.group for each in shown_groups(make_invented_plan(), ["per-layer"])] == ["0", "1"]


def test_where_pilots_have_chosen_no_arm_per_layer_saes_are_shown():
    plan = make_invented_plan()
    alone = replace(plan, arms=tuple(arm for arm in plan.arms if arm.role == "baseline"))
    assert [each.group for each in shown_groups(alone, ["shared", "specialised"])] == ["0", "1"]


@pytest.fixture
def four_layers():
    """Three SAEs, of which two serve one layer, and those specialised from them."""
    settings = plan_settings(
        shared={"counts": [3], "methods": ["complete"]},
        specialised=[{"from": 3, "budgets": [0.5]}],
        controls={"methods": ["even"], "counts": [3], "draws": 1},
    )
    return make_plan(description(4, "complete", "even"), settings)


def test_each_sae_is_shown_once_and_no_control(four_layers):
    groups = shown_groups(four_layers, KINDS)
    saes = [(each.own_variant, name) for each in groups for name in set(each.saes.values())]
    assert len(saes) == len(set(saes))
    assert not any("even" in each.partition for each in groups)
    # Those of one layer are trained alike in both arms, and shown among the per-layer ones.
    main = [each.group for each in groups if each.partition == "complete-3"]
    root = next(name for name in nested(4, 3) if "-" in name)
    assert sorted(main) == [root, root]  # before specialising, and fully trained


def test_a_root_of_one_layer_has_become_what_it_is(four_layers):
    groups = shown_groups(four_layers, KINDS)
    alone = [each for each in groups if "@" in each.partition and "@" not in each.group]
    assert len(alone) == 2
    assert all(each.root is None and len(each.layers) == 1 for each in alone)
    (family,) = (each for each in groups if each.group.startswith("@"))
    assert groups[family.root].partition == "complete-3"
    assert groups[family.root].own_variant == family.own_variant.partition("@")[2]
