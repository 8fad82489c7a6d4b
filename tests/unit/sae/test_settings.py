"""Variants, defaults and contradictions of the SAE settings."""

import pytest

from clustersae.errors import InputError
from clustersae.sae.flops import sparse_flops
from clustersae.sae.settings import default_learning_rate, resolve
from clustersae.sae.variants import pilot_variant, variant_scales

CONFIG = {
    "architecture": "topk",
    "d_sae": None,
    "expansion": 8,
    "k": 16,
    "tokens": 100_000,
    "batch_size": 1_000,
    "learning_rate": None,
    "warmup_fraction": 0.1,
    "decay_fraction": 0.2,
    "auxk_coefficient": 1 / 32,
    "dead_after": 10_000,
    "grad_clip": 1.0,
}


def test_base_settings():
    settings = resolve(CONFIG, "base", 3, d_model=64, seed=5)
    assert (settings.d_sae, settings.n_steps, settings.seed) == (512, 100, 5)
    assert settings.learning_rate == default_learning_rate(512)
    assert (settings.warmup_steps, settings.decay_steps) == (10, 20)


@pytest.mark.parametrize(
    ("variant", "n_layers", "n_steps", "d_sae"),
    [
        ("tokens-2of5", 1, 40, 512),
        ("narrower-2of5", 1, 100, 166),
        ("equal-exposure", 4, 400, 512),
        ("tokens-5of5", 1, 100, 512),
    ],
)
def test_variants_change_what_their_name_says(variant, n_layers, n_steps, d_sae):
    settings = resolve(CONFIG, variant, n_layers, 64, 0)
    assert (settings.n_steps, settings.d_sae) == (n_steps, d_sae)


def test_equal_compute_arms_cost_what_the_clusters_cost():
    """In operations: L SAEs of the variant make as many as K full ones."""

    def operations(variant):
        settings = resolve(CONFIG, variant, 1, 64, 0)
        return settings.n_steps * sparse_flops(64, settings.d_sae, settings.k)

    for variant in ("tokens-3of5", "narrower-3of5"):
        assert 5 * operations(variant) == pytest.approx(3 * operations("base"), rel=0.01)


def test_learning_rate_schedule():
    settings = resolve(CONFIG | {"learning_rate": 1.0}, "base", 1, 64, 0)
    rates = [settings.learning_rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[50] == rates[80] == 1
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)


def test_default_learning_rate_is_that_of_the_source():
    # Group-SAE's Pythia-160m SAEs: 12,288 latents at 2.31e-4.
    assert default_learning_rate(12_288) == pytest.approx(2.31e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "variant", "message"),
    [
        ({"k": 600}, "base", r"sae\.k is 600, more than the 512 latents"),
        ({"k": 300}, "narrower-1of5", r"sae\.k is 300, more than the 1 latents"),
        ({"tokens": 400}, "base", r"sae\.tokens is 400, fewer than one batch"),
        ({}, "wider", "'wider' is not a variant"),
        ({}, "tokens-6of5", "not a variant"),
    ],
)
def test_contradictions_are_named(change, variant, message):
    with pytest.raises(InputError, match=message):
        resolve(CONFIG | change, variant, 1, 64, 0)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1 / 3, 0.07, 1.0])
def test_pilot_variant_is_the_fraction(fraction):
    scale, width = variant_scales(pilot_variant(fraction), 4)
    assert scale == pytest.approx(fraction, rel=1e-6)
    assert width == 1
