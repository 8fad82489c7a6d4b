"""The cost of a configuration, against counts made by hand."""

import pytest
from configurations import load
from snakemake_project import merged

from clustersae.setup.costs import JOB_SECONDS, Cost, Rates, estimate
from clustersae.setup.facts import ModelFacts

MODEL = ModelFacts("repo", "some/model", 4, 10, 100, 32, "float32")
CONFIG = {
    "models": {"m": {"repo": "some/model", "corpus": {"source": "dataset", "dataset": "a/b"}}},
    "activations": {"tokens": {"train": 1000, "validation": 100, "test": 200}},
    "sae": {
        "d_sae": 40, "k": 2, "training_tokens": 1024, "batch_size": 128, "min_steps": 0,
        "learning_rate": [0.1, 0.2, 0.3], "seeds": [0, 1],
        "specialise": {"learning_rate": [0.1]},
    },
    "arms": {
        "per_layer": [1], "shared": {"counts": [2]}, "auto": [],
        "specialised": [{"from": 1, "budgets": [1]}],
    },
}  # fmt: skip


def cost_of(changes=None) -> Cost:
    (settings,) = load(merged(CONFIG, changes or {})).values()
    return estimate(settings, MODEL)


def test_every_arm_has_its_saes_and_activations():
    per_layer, shared, specialised = cost_of().arms
    assert per_layer == ("per-layer", 4, 4, 4 * 1024)
    assert shared == ("complete-2", 2, 2, 2 * 1024)
    # A quarter of 4 x 1024 for the shared SAE, the rest for the four that start from it.
    assert specialised[1:] == (4, 5, 4 * 1024)


def test_saes_of_several_arms_count_once_and_trials_of_rates_with_the_first_seed():
    cost = cost_of()
    assert cost.n_saes == 4 + 2 + 5
    # 3 rates and 1 more seed; specialised SAEs have one rate and so two trainings, their start four
    expected = 4 * (4096 + 2048 + 1024) + 2 * 4 * 768
    assert cost.activations == expected
    assert cost.flops == expected * 2 * 10 * (40 + 4 * 2)


def test_disk_and_operations_of_caching():
    cost = cost_of()
    assert cost.cache_bytes == 1300 * 4 * 10 * 4
    assert cost.caching_flops == 1300 * 2 * 4 * 12 * 10**2
    half = cost_of({"activations": {"dtype": "bfloat16", "layers": [0, 3]}})
    assert half.cache_bytes == 1300 * 2 * 10 * 2
    assert half.caching_flops == cost.caching_flops, "the model is run all the same"


def test_jobs_at_once_share_the_time():
    cost = cost_of()
    rates = Rates(training=1e6, products=2e6)
    alone, two = cost.seconds(rates, 1), cost.seconds(rates, 2)
    assert alone == pytest.approx((cost.caching_flops / 2e6, cost.flops / 1e6 + 22 * JOB_SECONDS))
    assert two == pytest.approx([each / 2 for each in alone])
