import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.experiment.clusters import (
    FROM,
    SAE_PATTERN,
    cluster_name,
    layers_of,
    parent,
    parse_cluster,
    start_of,
    transferred_name,
)
from clustersae.runtime.errors import InputError

LAYERS = st.sets(st.integers(0, 40), min_size=1)


@settings(deadline=None)
@given(LAYERS)
def test_a_name_gives_back_its_layers_in_order(layers):
    assert parse_cluster(cluster_name(layers)) == tuple(sorted(layers))


@settings(deadline=None)
@given(LAYERS, LAYERS)
def test_two_sets_share_a_name_only_if_equal(first, second):
    assert (cluster_name(first) == cluster_name(second)) == (first == second)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1))
def test_neither_order_nor_repetition_changes_the_name(layers):
    assert cluster_name(layers) == cluster_name(set(layers)) == cluster_name(layers[::-1])


MANY_LAYERS = st.integers(2, 1 << 200).map(
    lambda number: [place for place in range(200) if number >> place & 1]
)


@settings(deadline=None)
@given(MANY_LAYERS.filter(bool))
def test_names_of_many_layers_fit_into_a_path_and_give_them_back(layers):
    name = f"{layers[0]}{FROM}{cluster_name(layers)}"
    assert len(f"{name}.safetensors") <= 255
    assert re.fullmatch(SAE_PATTERN, name)
    assert parse_cluster(cluster_name(layers)) == tuple(layers)


def test_the_worst_set_of_eighty_layers_has_a_short_name():
    pairs = [layer for layer in range(80) if layer % 3 != 2]  # 0-1, 3-4, … in 27 runs
    assert cluster_name(pairs) == "xdb6db6db6db6db6db6db"
    assert cluster_name(range(80)) == "0-79"


@settings(deadline=None)
@given(st.sets(st.integers(0, 47), min_size=1))
def test_models_of_up_to_48_layers_keep_their_names_in_runs(layers):
    assert not cluster_name(layers).startswith("x")


@settings(deadline=None)
@given(st.text(alphabet="012-+xf", max_size=6))
def test_whatever_parses_is_the_canonical_name(text):
    try:
        layers = parse_cluster(text)
    except InputError:
        return
    assert cluster_name(layers) == text


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([3], "3"),
        ([0, 1, 2], "0-2"),
        ([7, 4, 5], "4-5+7"),
        ([0, 2, 4], "0+2+4"),
        ([9, 10, 11, 0], "0+9-11"),
    ],
)
def test_spelling(layers, name):
    assert cluster_name(layers) == name
    assert parse_cluster(name) == tuple(sorted(layers))


@pytest.mark.parametrize(
    ("bad", "canonical"),
    [
        ("1-1", "1"),  # a run of one layer
        ("0+1", "0-1"),  # two runs that touch
        ("0-1+2-3", "0-3"),
        ("7+4-5", "4-5+7"),  # not ascending
        ("0-2+1", "0-2"),  # overlapping
        ("03", "3"),
        ("0-02", "0-2"),
    ],
)
def test_another_spelling_is_refused_with_the_canonical_one(bad, canonical):
    with pytest.raises(InputError, match=re.escape(f"write {canonical}.")):
        parse_cluster(bad)


@pytest.mark.parametrize(
    "bad", ["", "-", "+", "3-", "-3", "3+", "+3", "0--2", "0-2-4", "a", " 3", "3\n", "0,1", "2-0"]
)
def test_nonsense_is_refused(bad):
    with pytest.raises(InputError, match="is not"):
        parse_cluster(bad)


@pytest.mark.parametrize("layers", [[], [-1], [-2, 3]])
def test_a_cluster_is_a_non_empty_set_of_indices(layers):
    with pytest.raises(InputError, match="non-empty set of layer indices"):
        cluster_name(layers)


@pytest.mark.parametrize(
    ("name", "layers", "came_from"),
    [
        ("3", (3,), ""),
        ("4-5+7", (4, 5, 7), ""),
        ("3@0-4", (3,), "0-4"),
        ("0-1@0-4", (0, 1), "0-4"),
        ("5+7@4-5+7", (5, 7), "4-5+7"),
    ],
)
def test_an_saes_name_says_what_it_reads_and_where_it_started(name, layers, came_from):
    assert layers_of(name) == layers
    assert parent(name) == came_from
    assert re.fullmatch(SAE_PATTERN, name)


def test_the_parent_of_a_variant_is_that_of_the_sae_it_started_from():
    assert parent("tokens-1of5@tokens-2of5") == "tokens-2of5"
    assert parent("base") == ""


@settings(deadline=None)
@given(LAYERS, LAYERS, st.booleans())
def test_a_name_is_one_of_an_sae_exactly_if_its_cluster_lies_in_that_of_its_start(
    layers, more, nested
):
    start = layers | more if nested else more
    name = FROM.join((cluster_name(layers), cluster_name(start)))
    if layers < start:
        assert layers_of(name) == tuple(sorted(layers))
    else:
        with pytest.raises(InputError, match="cannot start from"):
            layers_of(name)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("5@0-4", "5 is no part of 0-4"),
        ("3@3", "3 is no part of 3"),  # an SAE does not start from one of the same layers
        ("0-4@0-4", "0-4 is no part of 0-4"),
        ("1@0-1@0-4", "'0-1@0-4' is not a cluster"),  # no SAE starts from a specialised one
        ("3@0+1", "write 0-1."),
        ("03@0-4", "write 3."),
        ("3@", "'' is not a cluster"),
        ("@0-4", "'' is not a cluster"),
        ("3@@0-4", "'@0-4' is not a cluster"),
        ("", "'' is not a cluster"),
    ],
)
def test_a_name_that_is_none_of_an_sae_is_refused(bad, message):
    with pytest.raises(InputError, match=re.escape(message)):
        layers_of(bad)


@pytest.mark.parametrize(
    ("sae", "layer", "start"),
    [
        # Forwards, backwards, and over a gap between studied layers.
        (("tokens-1of5~base", "3~0-2"), 3, ("tokens-1of5~base", "2~0-1")),
        (("tokens-1of5~base", "2~0-1"), 2, ("tokens-1of5~base", "1~0")),
        (("tokens-1of5~base", "1~0"), 1, ("base", "0")),
        (("tokens-1of5~base", "3~4-5"), 3, ("tokens-1of5~base", "4~5")),
        (("tokens-1of5~base", "4~5"), 4, ("base", "5")),
        (("base~base", "6~0+2+4"), 6, ("base~base", "4~0+2")),
        (("tokens-1of5@base", "3@0-4"), 3, ("base", "0-4")),
        (("base", "0"), 0, None),
    ],
)
def test_what_an_sae_started_from_stands_in_its_name(sae, layer, start):
    assert start_of(*sae) == start
    assert layers_of(sae[1]) == (layer,)
    assert re.fullmatch(SAE_PATTERN, sae[1])


@settings(deadline=None)
@given(LAYERS, st.booleans())
def test_a_chain_is_followed_back_layer_by_layer(layers, backwards):
    chain = sorted(layers, reverse=backwards)
    sae, passed = ("tokens-1of5~base", transferred_name(chain)), []
    if len(chain) == 1:
        sae = ("base", transferred_name(chain))
    while sae is not None:
        passed.insert(0, layers_of(sae[1])[0])
        variant, sae = sae[0], start_of(*sae)
    assert passed == chain
    assert variant == "base", "the first of a chain is the full per-layer SAE"


@pytest.mark.parametrize("bad", ["2~0-3", "2~2", "0-1~2", "2~1+3"])
def test_weights_come_from_one_side_to_one_layer(bad):
    with pytest.raises(InputError, match="all lie before it, or all behind it"):
        layers_of(bad)
