"""Arms: which SAEs they hold, where those come from, and what all of it spends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.experiment.arms import (
    arm_of,
    baseline,
    budget_variant,
    partition_name,
    saes_of,
    specialised_name,
    with_ancestors,
)
from clustersae.experiment.clusters import cluster_name, layers_of, parent
from clustersae.experiment.variants import variant_scales
from clustersae.runtime.errors import InputError


def described(*levels):
    """partitions.json of complete linkage, from one cluster down to single layers."""
    n_layers = len(levels[-1])
    partitions = {
        partition_name("complete", len(level), n_layers): {"method": "complete", "clusters": level}
        for level in levels
    }
    return {"n_layers": n_layers, "partitions": partitions}


FOUR = described(["0-3"], ["0-2", "3"], ["0", "1-2", "3"], ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("variant", "partition", "saes"),
    [
        ("base", "complete-2", {"0-2": "base", "3": "base"}),
        ("base", "single", {"0-3": "base"}),
        ("tokens-1of2", "per-layer", dict.fromkeys("0123", "tokens-1of2")),
        # Exposure scales with the number of layers, so a single one has that of the base SAE.
        ("equal-exposure", "complete-2", {"0-2": "equal-exposure", "3": "base"}),
    ],
)
def test_saes_of_a_partition(variant, partition, saes):
    assert saes_of(FOUR, variant, partition) == tuple((own, name) for name, own in saes.items())


def test_one_root_for_all_layers():
    assert saes_of(FOUR, "tokens-1of5@tokens-2of5", "per-layer@single") == (
        ("tokens-1of5@tokens-2of5", "0@0-3"),
        ("tokens-1of5@tokens-2of5", "1@0-3"),
        ("tokens-1of5@tokens-2of5", "2@0-3"),
        ("tokens-1of5@tokens-2of5", "3@0-3"),
    )


def test_a_root_of_one_layer_gets_both_trainings_in_one():
    assert saes_of(FOUR, "tokens-1of5@tokens-1of2", "per-layer@complete-2") == (
        ("tokens-1of5@tokens-1of2", "0@0-2"),
        ("tokens-1of5@tokens-1of2", "1@0-2"),
        ("tokens-1of5@tokens-1of2", "2@0-2"),
        ("tokens-7of10", "3"),
    )
    # Where the two make a full training, it is the baseline's SAE, and trained once.
    assert saes_of(FOUR, "tokens-1of4@tokens-3of4", "per-layer@complete-2")[3] == ("base", "3")
    assert saes_of(FOUR, "tokens-1of4@base", "per-layer@complete-2")[3] == ("tokens-5of4", "3")


def test_ancestors_count_once_and_no_one_else_does():
    saes = saes_of(FOUR, "tokens-1of6@base", "per-layer@complete-2")
    trained = with_ancestors(saes)
    assert sorted(name for _, name in trained) == sorted(["0-2", *(name for _, name in saes)])
    assert ("base", "0-2") in trained
    assert set(with_ancestors(trained)) == set(trained)
    assert with_ancestors([("base", "3"), ("base", "3")]) == (("base", "3"),)
    assert with_ancestors([]) == ()


def test_one_name_at_two_lengths_is_two_saes():
    saes = [("tokens-1of5@base", "1@0-3"), ("tokens-1of5@tokens-1of2", "2@0-3")]
    assert set(with_ancestors(saes)) == {*saes, ("base", "0-3"), ("tokens-1of2", "0-3")}


@pytest.mark.parametrize(
    ("partition", "budget", "shared", "variant"),
    [
        # 2 = 4 x 1/4 for the root + 4 x 1/4
        ("per-layer@single", 0.5, 0.5, "tokens-1of4@equal-exposure-1of4"),
        # 2 = 3 x 1/4 for the root of 0-2 + 3 x 1/4 below it + 1/2 for 3 alone
        ("per-layer@complete-2", 0.5, 0.5, "tokens-1of4@equal-exposure-1of4"),
        ("per-layer@single", 1, 0.25, "tokens-3of4@equal-exposure-1of4"),
        ("per-layer@single", 2, 0.5, "base@equal-exposure"),
        ("per-layer@single", 2, 0.75, "tokens-1of2@equal-exposure-3of2"),
        # Pilots are short: 0.2 of a hundredth.
        ("per-layer@single", 0.002, 0.25, "tokens-3of2000@equal-exposure-1of2000"),
        # 3 is a root of its own, and gets both: 1/1000.
        ("per-layer@complete-2", 0.001, 0.25, "tokens-3of4000@equal-exposure-1of4000"),
    ],
)
def test_a_budget_by_hand(partition, budget, shared, variant):
    assert budget_variant(budget, shared) == variant
    assert arm_of(FOUR, variant, partition, "complete").matched_count == 4 * budget


@st.composite
def hierarchies(draw):
    """partitions.json of 2 to 6 layers, merged in any order, neighbours or not."""
    clusters = [{layer} for layer in range(draw(st.integers(2, 6)))]
    levels = []
    while clusters:
        levels.insert(0, sorted((cluster_name(each) for each in clusters), key=layers_of))
        if len(clusters) == 1:
            break
        one = clusters.pop(draw(st.integers(0, len(clusters) - 1)))
        clusters[draw(st.integers(0, len(clusters) - 1))] |= one
    return described(*levels)


TENTHS = st.integers(1, 30).map(lambda n: n / 10)


@settings(deadline=None)
@given(hierarchies(), TENTHS, st.integers(1, 9).map(lambda n: n / 10), st.data())
def test_a_specialised_arm_spends_its_budget(description, budget, shared, data):
    n_layers = description["n_layers"]
    root = data.draw(st.integers(1, n_layers - 1))
    partition = specialised_name("complete", root, n_layers)
    arm = arm_of(description, budget_variant(budget, shared), partition, "complete")
    alone = sum("@" not in name for _, name in arm.saes)
    assert arm.matched_count == pytest.approx(budget * n_layers, abs=2e-6)
    assert [layers_of(name) for _, name in arm.saes] == [(layer,) for layer in range(n_layers)]
    trained = arm.trained
    assert len(set(trained)) == len(trained)
    for variant, name in trained:
        assert variant.count("@") == name.count("@")
        assert not parent(name) or (parent(variant), parent(name)) in trained
    roots = [sae for sae in trained if "@" not in sae[1]]
    assert len(roots) == root
    below = {variant_scales(variant, 1)[0] for variant, name in trained if "@" in name}
    assert len(below) == 1  # all children are trained for equally long
    if not alone:
        spent = sum(variant_scales(variant, len(layers_of(name)))[0] for variant, name in roots)
        assert spent == pytest.approx(shared * budget * n_layers)


@settings(deadline=None)
@given(hierarchies(), st.floats(0.05, 3), st.floats(0.05, 0.95), st.data())
def test_any_budget_is_met_to_a_thousandth_per_sae(description, budget, shared, data):
    n_layers = description["n_layers"]
    root = data.draw(st.integers(1, n_layers - 1))
    partition = specialised_name("complete", root, n_layers)
    variant = budget_variant(budget, shared)
    arm = arm_of(description, variant, partition, "complete")
    assert arm.matched_count == pytest.approx(budget * n_layers, abs=0.002 * len(arm.trained))


def test_partitions_of_one_layer_or_cluster_have_the_same_name_for_every_method():
    assert partition_name("complete", 4, 4) == partition_name("kmeans", 4, 4) == "per-layer"
    assert partition_name("complete", 1, 4) == "single"
    assert partition_name("complete", 1, 1) == "per-layer"
    assert specialised_name("average", 3, 4) == "per-layer@average-3"
    assert specialised_name("average", 1, 4) == "per-layer@single"
    for count in (0, 5):
        with pytest.raises(InputError, match="use counts from 1 to 4"):
            partition_name("complete", count, 4)


def test_partitions_that_are_unknown_are_refused():
    unknown = r"The partition complete-9 is not in partitions\.json, which has single, complete-2"
    for partition in ("complete-9", "per-layer@complete-9"):
        with pytest.raises(InputError, match=unknown):
            saes_of(FOUR, "base@base", partition)


def test_what_an_arm_says_of_itself():
    base = arm_of(FOUR, "base", "per-layer", "complete")
    assert (base.name, base.role, base.count) == ("per-layer", "baseline", 4)
    assert base.matched_count == 4
    half = arm_of(FOUR, "narrower-1of2", "per-layer", "complete")
    assert (half.name, half.role) == ("per-layer (narrower-1of2)", "equal-compute")
    assert (half.count, half.matched_count) == (4, 2)
    longer = arm_of(FOUR, "tokens-3of2", "per-layer", "complete")
    assert (longer.role, longer.matched_count) == ("equal-compute", 6)
    exposed = arm_of(FOUR, "equal-exposure", "complete-2", "complete")
    assert (exposed.role, exposed.count, exposed.matched_count) == ("equal-exposure", 2, 4)
    tuned = arm_of(FOUR, "tokens-1of4@base", "per-layer@single", "complete")
    assert tuned.name == "per-layer@single (tokens-1of4@base)"
    assert (tuned.method, tuned.role, tuned.count) == ("specialised", "specialised", 4)
    assert (tuned.matched_count, len(tuned.trained)) == (2, 5)
    assert baseline([tuned, half, longer, exposed, base]) == base


@pytest.mark.parametrize(
    ("method", "role"),
    [("complete", "main"), ("average", "alternative"), ("even", "control"), ("random", "control")],
)
def test_the_role_follows_the_method(method, role):
    partitions = FOUR["partitions"] | {"x-2": {"method": method, "clusters": ["0-1", "2-3"]}}
    description = FOUR | {"partitions": partitions}
    assert arm_of(description, "base", "x-2", "complete").role == role
    assert arm_of(description, "base", "single", "average").role == "main"
