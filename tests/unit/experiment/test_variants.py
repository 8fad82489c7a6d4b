"""Names of variants: one spelling for every share, and what each makes of a training."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersae.experiment.variants import (
    PATTERN,
    kind_of,
    scaled_variant,
    share_of,
    variant_scales,
)
from clustersae.runtime.errors import InputError


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (Fraction(3, 6), "tokens-1of2"),
        (Fraction(4, 6), "tokens-2of3"),
        (0.4, "tokens-2of5"),
        (1 / 3, "tokens-1of3"),
        (0.1, "tokens-1of10"),
        (1.5, "tokens-3of2"),
        (2, "tokens-2of1"),
        (1, "base"),
        (0.99999, "base"),
        (Fraction(6, 6), "base"),
        (0.3333, "tokens-1of3"),
        (0.0004, "tokens-1of2500"),
        (1e-9, "tokens-1of1000000000"),  # never nothing, and never a whole training
        (Fraction(999, 4000), "tokens-999of4000"),
    ],
)
def test_a_share_has_one_name_in_lowest_terms(share, name):
    assert scaled_variant("tokens", share) == name
    assert scaled_variant("narrower", share) == name.replace("tokens", "narrower")


@given(st.fractions(Fraction(1, 1000), 50, max_denominator=1000), st.integers(1, 9))
def test_a_name_gives_back_its_share_whatever_the_number_of_layers(share, n_layers):
    variant = scaled_variant("tokens", share)
    assert variant_scales(variant, n_layers) == (float(share), 1.0)
    assert (share_of(variant) or 1) == share
    assert re.fullmatch(PATTERN, variant)


@given(st.floats(1e-9, 10))
def test_a_float_is_met_to_a_5000th_of_itself(share):
    tokens, width = variant_scales(scaled_variant("tokens", share), 1)
    assert tokens == pytest.approx(share, rel=0.0002)
    assert width == 1


@pytest.mark.parametrize(
    ("variant", "n_layers", "scales"),
    [
        ("base", 3, (1, 1)),
        ("equal-exposure", 3, (3, 1)),
        ("tokens-3of2", 3, (1.5, 1)),
        ("narrower-1of4", 1, (1, 0.25)),
        ("tokens-3of6", 1, (0.5, 1)),
        # Of a specialised SAE, what it adds to those it came from.
        ("tokens-1of5@base", 1, (0.2, 1)),
        ("tokens-1of5~base", 1, (0.2, 1)),
        ("base~base", 1, (1, 1)),
        # Every token at every layer: 3 layers' worth of half of the tokens.
        ("mlsae-1of2", 3, (1.5, 1)),
        ("mlsae-1of1", 4, (4, 1)),
        ("mlsae-2of1", 1, (2, 1)),
        # Half of the tokens, each of which is read at 3 layers at once.
        ("crosscoder-1of2", 3, (0.5, 3)),
        ("crosscoder-1of1", 4, (1, 4)),
        ("base@tokens-1of5", 1, (1, 1)),
        ("tokens-1of5@tokens-2of5", 2, (0.2, 1)),
    ],
)
def test_scales_of_activations_and_of_operations(variant, n_layers, scales):
    assert variant_scales(variant, n_layers) == pytest.approx(scales)
    assert re.fullmatch(PATTERN, variant)


@pytest.mark.parametrize(
    "bad",
    [
        *("", "Base", "wider", "tokens", "tokens-1", "tokens-1of", "tokens--1of2", "tokens-0of2"),
        *("tokens-1of0", "narrower-3of2", "narrower-0of1", "fewer-tokens-1of2", "tokens-1of2 "),
        *("wider@base", "@base", "tokens-0of1@base"),
    ],
)
def test_other_names_are_refused(bad):
    with pytest.raises(InputError, match=r"is not a variant: use base, equal-exposure"):
        variant_scales(bad, 1)


@pytest.mark.parametrize("kind", ["mlsae", "crosscoder"])
def test_what_reads_every_token_at_every_layer_is_no_base_variant_when_whole(kind):
    assert scaled_variant(kind, 1) == f"{kind}-1of1"
    assert scaled_variant(kind, 0.5) == f"{kind}-1of2"


def test_kind_and_share():
    assert (kind_of("tokens-2of5"), share_of("tokens-2of5")) == ("tokens", Fraction(2, 5))
    assert (kind_of("narrower-2of4"), share_of("narrower-2of4")) == ("narrower", Fraction(1, 2))
    for plain in ("base", "equal-exposure"):
        assert (kind_of(plain), share_of(plain)) == (plain, None)


def test_the_pattern_takes_pairs_and_nothing_beside():
    # In paths it stands between slashes, so one start is all that may follow.
    assert re.fullmatch(PATTERN, "tokens-1of5@tokens-2of5")
    for bad in (
        "tokens-1of5@tokens-2of5@base",
        "base@",
        "@base",
        "base/3",
        "base@wider",
        "tokens-1of2tokens-1of2",
        "tokens-1of5~tokens-2of5@base",
    ):
        assert not re.fullmatch(PATTERN, bad)
