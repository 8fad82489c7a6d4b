"""Defaults and contradictions of the SAE settings, and what specialised SAEs have of their own."""

import pytest
from sae_settings_of import sae_section

from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.experiment.flops import training_flops
from clustersae.experiment.sae_settings import default_learning_rate, learning_rates, resolve
from clustersae.runtime.errors import InputError

CONFIG = sae_section(16, 100_000, batch_size=1_000, dead_after=10_000) | {
    "specialise": {"shared_fraction": 0.5, "learning_rate": None}
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
        ("tokens-3of2", 1, 150, 512),
        ("tokens-2of5", 3, 40, 512),  # whatever the number of layers
        # Of a specialised SAE, its own training; what it started from counts there.
        ("tokens-1of5@base", 1, 20, 512),
        ("tokens-1of5@equal-exposure", 1, 20, 512),
    ],
)
def test_variants_change_what_their_name_says(variant, n_layers, n_steps, d_sae):
    settings = resolve(CONFIG, variant, n_layers, 64, 0)
    assert (settings.n_steps, settings.d_sae) == (n_steps, d_sae)


def test_equal_compute_arms_cost_what_the_clusters_cost():
    """In operations: L SAEs of the variant make as many as K full ones."""

    def operations(variant):
        settings = resolve(CONFIG, variant, 1, 64, 0)
        return settings.n_steps * training_flops("topk", 64, settings.d_sae, settings.k)

    for variant in ("tokens-3of5", "narrower-3of5"):
        assert 5 * operations(variant) == pytest.approx(3 * operations("base"), rel=0.01)


def test_a_crosscoder_is_charged_for_an_encoder_and_a_decoder_of_every_layer():
    """By hand: d_model 10, 40 latents, k 2, three layers, 10 steps of 128 tokens."""
    config = CONFIG | {"d_sae": 40, "k": 2, "batch_size": 128, "training_tokens": 2560}
    own = resolve(config, "crosscoder-1of2", 3, 10, 0)
    assert (own.n_steps, own.batch_size, own.layers_at_once) == (10, 128, 3)
    assert own.n_activations == 10 * 128 * 3
    encoders, on_latents = 3 * 2 * 10 * 40, 3 * 8 * 10 * 2
    parameters = 3 * 2 * 10 * 40 + 40 + 3 * 10
    optimiser = 16 * parameters + 7 * 3 * 10 * 40
    assert own.total_flops(10) == 10 * (128 * (encoders + on_latents) + optimiser)
    assert own.weight_bytes(10) == 4 * parameters
    # Of one layer it is what it is without.
    alone = resolve(config, "crosscoder-1of2", 1, 10, 0)
    assert alone == resolve(config, "tokens-1of2", 1, 10, 0)


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
        ({"training_tokens": 400}, "base", r"sae\.training_tokens is 400, fewer than one batch"),
        ({}, "wider", "'wider' is not a variant"),
        ({}, "tokens-1of200@base", r"fewer than one batch of 1000 for variant tokens-1of200@base"),
    ],
)
def test_contradictions_are_named(change, variant, message):
    with pytest.raises(InputError, match=message):
        resolve(CONFIG | change, variant, 1, 64, 0)


def specialising(**changes):
    return CONFIG | {"specialise": CONFIG["specialise"] | changes}


def test_a_specialised_sae_has_its_own_rate_where_one_is_given():
    own = specialising(learning_rate=0.5)
    assert resolve(own, "tokens-1of2", 5, 64, 0).learning_rate == default_learning_rate(512)
    child = resolve(own, "tokens-1of5@tokens-1of2", 1, 64, 0)
    assert child.learning_rate == 0.5
    assert (child.n_steps, child.warmup_steps, child.decay_steps) == (20, 2, 4)
    assert resolve(CONFIG, "tokens-1of5", 1, 64, 0) == resolve(CONFIG, "tokens-1of5@base", 1, 64, 0)


def test_what_rules_the_whole_arm_decides_no_single_sae():
    # The job of a root is not told how others go on from it, lest a change train it again.
    plain = {key: value for key, value in CONFIG.items() if key != "specialise"}
    assert resolve(plain, "base", 1, 64, 0) == resolve(CONFIG, "base", 1, 64, 0)
    own = plain | {"specialise": {"learning_rate": None}}
    assert resolve(own, "base@base", 1, 64, 0) == resolve(CONFIG, "base@base", 1, 64, 0)


@pytest.mark.parametrize(
    ("training_tokens", "variant", "dead_after"),
    [
        (100_000, "base", 10_000),
        (1_000_000, "base", 100_000),
        (1_000_000, "tokens-1of4", 25_000),
        (1_000_000, "tokens-1of4@base", 25_000),  # of its own training
        (1_000_000, "tokens-1of100", 10_000),  # ten batches at least
        (1_000_000, "narrower-1of4", 100_000),
    ],
)
def test_a_latent_is_dead_after_a_tenth_of_the_training(training_tokens, variant, dead_after):
    config = CONFIG | {"training_tokens": training_tokens, "dead_after": None}
    assert resolve(config, variant, 1, 64, 0).dead_after == dead_after
    told = config | {"dead_after": 7}
    assert resolve(told, variant, 1, 64, 0).dead_after == 7


@pytest.mark.parametrize(
    ("shared", "own", "of_roots", "of_children"),
    [
        (None, None, [None], [None]),
        (0.1, None, [0.1], [0.1]),
        (0.1, 0.2, [0.1], [0.2]),
        ([0.1, 0.2], None, [0.1, 0.2], [0.1, 0.2]),
        ([0.1, 0.2], 0.3, [0.1, 0.2], [0.3]),
        (0.1, [0.3, 0.4], [0.1], [0.3, 0.4]),
        (None, [0.3], [None], [0.3]),
    ],
)
def test_learning_rates_to_choose_from(shared, own, of_roots, of_children):
    config = specialising(learning_rate=own) | {"learning_rate": shared}
    for variant in ("base", "tokens-1of2", "equal-exposure"):
        assert learning_rates(config, variant) == of_roots
    for variant in ("base@base", "tokens-1of5@tokens-1of2"):
        assert learning_rates(config, variant) == of_children


def test_one_rate_of_a_list_is_resolved_at_a_time():
    config = CONFIG | {"learning_rate": [0.1, 0.2]}
    assert resolve(config, "base", 1, 64, 0).learning_rate == 0.1  # by default the first
    assert resolve(config, "base", 1, 64, 0, 0.2).learning_rate == 0.2
    assert resolve(CONFIG, "base", 1, 64, 0, 0.3).learning_rate == 0.3


@pytest.mark.parametrize(
    ("min_steps", "training_tokens", "batch_size", "n_steps"),
    [
        (0, 20_480, 2048, 10),  # all batches alike
        (100, 204_800, 2048, 100),  # enough as they are
        (100, 204_799, 1024, 200),
        (100, 60_000, 512, 117),  # halved until there are enough
        (100, 5_000, 128, 39),  # no smaller than a block that is read
    ],
)
def test_short_trainings_have_smaller_batches(min_steps, training_tokens, batch_size, n_steps):
    config = CONFIG | {"batch_size": 2048, "min_steps": min_steps}
    config |= {"training_tokens": training_tokens}
    settings = resolve(config, "base", 1, 64, 0)
    assert (settings.batch_size, settings.n_steps) == (batch_size, n_steps)


def test_equal_training_means_equal_batches_for_whoever_gets_it():
    """A specialised SAE has no other steps than a per-layer one of as many activations."""
    config = CONFIG | {"batch_size": 1024, "min_steps": 400}
    alone = resolve(config, "tokens-1of5", 1, 64, 0)
    child = resolve(config, "tokens-1of5@base", 1, 64, 0)
    assert alone == child
    assert (alone.batch_size, alone.n_steps) == (128, 156)


def test_a_batch_that_cannot_be_halved_stays():
    config = CONFIG | {"batch_size": 384, "min_steps": 10_000}  # 192 is no multiple of a block
    assert resolve(config, "base", 1, 64, 0).batch_size == 384
    config = CONFIG | {"batch_size": 375, "min_steps": 10_000}
    assert resolve(config, "base", 1, 64, 0).batch_size == 375


@pytest.mark.parametrize(
    ("change", "sparsity", "prefixes"),
    [
        ({}, 0.0, ()),
        ({"architecture": "jumprelu"}, 1.0, ()),
        ({"architecture": "relu", "sparsity": 0.5}, 0.5, ()),
        ({"architecture": "matryoshka"}, 0.0, (16, 48, 112, 240)),
        ({"architecture": "matryoshka", "prefixes": [0.5, 0.001, 0.25]}, 0.0, (1, 128, 256)),
        # Shares that come to nothing, to everything, or to the same are left out.
        (
            {"architecture": "matryoshka", "d_sae": 16, "prefixes": [0.01, 0.5, 0.51, 0.99]},
            0.0,
            (8,),
        ),
    ],
)
def test_the_options_of_architectures(change, sparsity, prefixes):
    settings = resolve(CONFIG | change, "base", 1, d_model=64, seed=0)
    assert (settings.sparsity, settings.prefixes) == (sparsity, prefixes)


def test_sparsity_rises_with_the_learning_rate_and_does_not_fall_with_it():
    settings = resolve(CONFIG | {"architecture": "jumprelu"}, "base", 1, d_model=64, seed=0)
    assert settings.sparsity_at(0) == pytest.approx(0.1)
    assert settings.sparsity_at(9) == settings.sparsity_at(99) == 1.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_narrower_saes_take_their_share_of_the_operations(architecture):
    config = CONFIG | {"architecture": architecture, "d_sae": 4096}

    def operations(variant):
        settings = resolve(config, variant, 1, d_model=64, seed=0)
        size = settings.d_sae, settings.k, len(settings.prefixes)
        return settings.n_steps * training_flops(architecture, 64, *size)

    assert operations("narrower-1of2") / operations("base") == pytest.approx(0.5, rel=1e-3)
