"""The price of a configuration, against counts made by hand and against the published ones."""

import evaluate_splice
import pytest
import yaml
from configurations import load
from snakemake_project import REPOSITORY, merged

from clustersae.cost.forecast import Forecast, forecast
from clustersae.cost.memory import HELD_BYTES, MAX_LOGITS, SHARED_BYTES, token_bytes
from clustersae.cost.supposed import supposed_partitions
from clustersae.experiment.clusters import parse_cluster
from clustersae.experiment.flops import optimiser_flops
from clustersae.experiment.layers import studied_layers
from clustersae.experiment.shape import Shape
from clustersae.latents import decoders
from clustersae.quality import splice as quality_splice

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
#: 4 layers, d_model 10, rows of 25 tokens, 100 words, 12 d_model² weights in a block.
SHAPE = Shape(4, 10, 25, 100, 4 * 12 * 10**2)
#: Of a forward pass, per token.
FORWARD = 2 * 4800 + 4 * 4 * 25 * 10
#: Of Adam, in the 8 steps of a full training.
ADAM = 8 * optimiser_flops(10, 40)


def price_of(changes=None, **given) -> Forecast:
    (settings,) = load(merged(CONFIG, changes or {})).values()
    return forecast(settings, SHAPE, **given)


def test_every_arm_has_its_saes_and_activations():
    per_layer, shared, specialised = price_of().arms
    assert per_layer[:5] == ("per-layer", 1, 4, 4, 4 * 1024)
    assert shared[:5] == ("complete-2", 0.5, 2, 2, 2 * 1024)
    # A quarter of 4 x 1024 for the shared SAE, the rest for the four that start from it.
    assert specialised[1:5] == (1, 4, 5, 4 * 1024)


def test_an_arm_is_caching_and_its_trainings_dense_and_as_they_are_done():
    price = price_of()
    assert price.dense_caching == 1000 * FORWARD
    assert price.dense_training == 1024 * 10 * 10 * 40
    per_layer, shared, _ = price.arms
    assert per_layer.dense == price.dense_caching + 4 * price.dense_training
    assert shared.dense == price.dense_caching + 2 * price.dense_training
    sparse = 1024 * (2 * 10 * 40 + 8 * 10 * 2)
    assert shared.here == 1000 * FORWARD + 2 * (sparse + ADAM)
    assert shared.caching == 1000 * FORWARD


def test_an_arm_pays_for_the_tokens_that_it_reads():
    *_, half = price_of({"arms": {"per_layer": [1, 0.5], "specialised": []}}).arms
    assert (half.name, half.activations) == ("per-layer (tokens-1of2)", 4 * 512)
    assert half.caching == 512 * FORWARD
    assert half.dense == 512 * FORWARD + 4 * 512 * 10 * 10 * 40
    # Reads on where the shared SAE, after 1,024 activations, has stopped: all that is cached.
    assert price_of().arms[2].caching == 1000 * FORWARD


def test_a_crosscoder_costs_as_many_saes_as_it_has_layers_and_reads_half_of_the_tokens():
    given = {"specialised": [], "crosscoder": {"budgets": [0.5]}}
    price = price_of({"arms": given})
    own = price.arms[-1]
    assert own[:5] == ("single (crosscoder-1of2)", 0.5, 1, 1, 4 * 512)
    assert own.caching == 512 * FORWARD
    assert own.dense == 512 * FORWARD + 4 * 512 * 10 * 10 * 40
    sparse = 4 * 512 * (2 * 10 * 40 + 8 * 10 * 2)
    assert own.here == 512 * FORWARD + sparse + 4 * optimiser_flops(4 * 10, 40)
    # Its weights are those of four SAEs, but for a bias of latents, which it has once.
    without = price_of({"arms": {"specialised": [], "per_layer": [1, 0.5]}})
    assert price.sae_bytes - without.sae_bytes == 2 * 4 * (2 * 40 * 40 + 40 + 40)


def test_saes_of_several_arms_count_once_and_trials_of_rates_with_the_first_seed():
    price = price_of()
    assert price.n_saes == 4 + 2 + 5
    # 3 rates and 1 more seed; specialised SAEs have one rate and so two trainings, their start four
    n_steps = 4 * (32 + 16 + 8) + 2 * 4 * 6
    assert price.activations == 128 * n_steps
    per_step = 128 * 2 * 10 * (40 + 4 * 2) + optimiser_flops(10, 40)
    assert price.training_flops == n_steps * per_step


def test_blocks_after_the_last_studied_layer_are_not_run():
    two = price_of({"activations": {"layers": [0, 1]}, "arms": {"shared": {"counts": []}}})
    assert two.caching_flops == 1300 * FORWARD // 2
    assert two.dense_caching == 1000 * FORWARD, (
        "the cost model of the literature knows whole passes"
    )
    assert price_of().caching_flops == 1300 * FORWARD


def test_disk():
    price = price_of()
    # Streams in float32, three numbers beside each, and a token of every 25 once more.
    assert price.cache_bytes == 1300 * (4 * 10 * 4 + 12) + 52 * 4 * 10 * 4
    one = 4 * (2 * 10 * 40 + 40 + 10)
    assert price.sae_bytes == 2 * 11 * one
    assert price.checkpoint_bytes == 3 * 3 * one, "weights and two moments, at three rates"
    assert token_bytes(2, 10, 20, "bfloat16") == 2 * 10 * 2 + 12 + 4
    assert token_bytes(2, 10, 20, "int8") == 2 * 10 + 2 * 4 + 12 + 4, "and a scale at each layer"


def test_shards_that_do_not_stay():
    """Ten shards in windows of 200, 300, 200 and 300 tokens."""
    streamed = {
        "activations": {"shard_tokens": 100, "window": 3, "keep": False},
        "sae": {"batch_size": 64, "learning_rate": 0.1, "specialise": {"learning_rate": None}},
    }
    price = price_of(streamed)
    # Specialised SAEs read 768 tokens after the 256 of their start, as far as all others. Of the
    # four windows all but 0 are made to pass by; and 300 held-out tokens.
    assert price.caching_flops == (200 + 300 + 200 + 300 + 300) * FORWARD
    # Of 1,024 tokens 24 are read, and so made, once more; shards that stay are read again.
    assert price.arms[0].caching == 1024 * FORWARD
    at_once = 200 + 2 * 300 + 300
    assert price.cache_bytes == at_once * (4 * 10 * 4 + 12) + at_once // 25 * 4 * 10 * 4
    one = 4 * (2 * 10 * 40 + 40 + 10)
    assert price.waiting_bytes == 2 * 11 * 3 * one, "every SAE of two seeds has more to read"
    assert price.jobs["cache_activations"] == 2 + 1 + 2
    assert price.jobs["cache_window"] == 3 + 2 + 3
    # 1,024 tokens are four windows (the last step begins at 960); the start of the specialised
    # ones reads the first two, they read on in the second.
    assert price.jobs["train_sae_window"] == 2 * (6 * 3 + 1 + 4 * 2)
    assert price.jobs["train_sae"] == 2 * 11
    kept = price_of(merged(streamed, {"activations": {"keep": True}}))
    assert (kept.waiting_bytes, kept.caching_flops) == (0, 1300 * FORWARD)
    assert kept.arms[0].caching == 1000 * FORWARD
    assert not kept.jobs.keys() & {"cache_window", "train_sae_window"}
    assert kept.jobs["cache_activations"] == 10 + 1 + 2


def test_a_model_that_reads_another_ones_activations_caches_none():
    given = merged(CONFIG, {"models": {"wide": {"same_as": "m"}}})
    price = forecast(load(given)["wide"], SHAPE)
    assert (price.cache_bytes, price.caching_flops) == (0, 0)
    assert price.dense_caching == 1000 * FORWARD
    assert "cache_activations" not in price.jobs


def test_memory_is_that_of_the_largest_job():
    price = price_of()
    weights = 4 * (4800 + 2 * 100 * 10)
    batch = 64 * 25 * 10 * 4 * (4 + 16)
    shard = round(1000 * token_bytes(4, 10, 25, "float32"))
    assert price.memory["cache_activations"] == 500_000_000 + weights + shard + batch
    held = 128 * 4 * (3 * 40 + 7 * 10 + 12 * 2)
    assert price.memory["train_sae"] == 500_000_000 + 4 * 4 * (2 * 10 * 40 + 40 + 10) + held


def test_evaluations_hold_the_saes_of_a_seed():
    """Of several where they are small, as the scripts have it."""
    assert SHARED_BYTES == evaluate_splice.SHARED_BYTES
    assert MAX_LOGITS == quality_splice.MAX_LOGITS
    memory = price_of().memory
    one = 4 * (2 * 10 * 40 + 40 + 10)
    model = 500_000_000 + 4 * (4800 + 2 * 100 * 10)
    text = 64 * 25 * (10 * 4 * (4 + 16) + 100 * 4 * 4)
    assert memory["evaluate_splice"] == model + 2 * 4 * one + text
    assert memory["evaluate_circuits"] == model + 4 * one + text
    assert memory["evaluate_transfer"] == 500_000_000 + (4 + 1) * one
    assert memory["evaluate_directions"] == model + 4 * one
    # Two seeds of four layers, an SAE as it is read, and cosines of all latents with all, twice.
    correspondence = 500_000_000 + 2 * 4 * one + 2 * one + 2 * 4 * 40 * 40
    assert memory["evaluate_correspondence"] == memory["evaluate_features"] == correspondence
    assert HELD_BYTES == decoders.HELD_BYTES
    # Five seeds of 4 x 0.8 GB, and rows of 2.5 million logits: 26 of them at once.
    large = {"sae": {"d_sae": 10**7, "seeds": [0, 1, 2, 3, 4]}}
    (settings,) = load(merged(CONFIG, large)).values()
    memory = forecast(settings, SHAPE._replace(vocab_size=100_000)).memory
    one = 4 * (2 * 10 * 10**7 + 10**7 + 10)
    text = 26 * 25 * (10 * 4 * (4 + 16) + 100_000 * 4 * 4)
    model = 500_000_000 + 4 * (4800 + 2 * 100_000 * 10)
    assert memory["evaluate_splice"] == model + 4 * one + text
    assert memory["evaluate_transfer"] == 500_000_000 + HELD_BYTES + one
    held = 2 * one + HELD_BYTES
    assert memory["evaluate_correspondence"] == 500_000_000 + held + 8 * 10**14


def test_pilots_are_paid_for():
    alone = price_of({"arms": {"specialised": [], "shared": {"counts": []}}})
    auto = price_of(
        {
            "arms": {"specialised": [], "shared": {"counts": []}, "auto": ["shared"]},
            "sae": {"training_tokens": 10240},
        }
    )
    # Per-layer pilots and those of 1, 2 and 3 clusters, of which two layers are alone.
    assert auto.n_saes == alone.n_saes + 4 + 1 + 2 + 1
    assert auto.activations == (4 * 10240 + 8 * 1024) * 4
    assert [arm.name for arm in auto.arms] == ["per-layer"]


@pytest.mark.parametrize("n_layers", [1, 2, 11, 80])
def test_supposed_clusters_are_runs_that_cover_all_layers(n_layers):
    layers = studied_layers({"step": 2}, 2 * n_layers)
    arms = load(CONFIG)["m"]["arms"] | {
        "shared": {"methods": ["complete", "kmeans"]},
        "controls": {"methods": ["even", "random"], "draws": 3},
    }
    partitions = supposed_partitions(layers, arms)["partitions"]
    for name in ("complete", "kmeans", "even", "random"):
        for count in range(1, n_layers + 1):
            assert len(partitions[f"{name}-{count}"]["clusters"]) == count
    for name, partition in partitions.items():
        clusters = map(parse_cluster, partition["clusters"])
        assert [layer for cluster in clusters for layer in cluster] == list(layers), name
    assert partitions["per-layer"]["clusters"] == [str(layer) for layer in layers]
    assert len(partitions["single"]["clusters"]) == 1
    if n_layers > 4:
        assert partitions["complete-3"]["clusters"] != partitions["random-3.2"]["clusters"]


#: Group-SAE (arXiv 2410.21508), section 3.3 and its code: layers, d_model, and for 1e9 tokens, in
#: PFLOP, A and T; K; in EFLOP, A + L·T and A + K·T.
PUBLISHED = {
    "pythia-160m": (12, 768, 207.62, 94.37, 6, 1.34, 0.77),
    "pythia-410m": (24, 1024, 704.64, 167.77, 9, 4.73, 2.21),
    "pythia-1b": (16, 2048, 1744.83, 671.09, 6, 12.48, 5.77),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_dense_operations_of_the_presets_are_the_published_ones(model):
    n_layers, d_model, caching, training, count, per_layer, shared = PUBLISHED[model]
    # GPT-NeoX: weights of attention and MLP, their biases and two norms of each block.
    block = 12 * d_model**2 + 13 * d_model
    shape = Shape(n_layers, d_model, 1024, 50_304, n_layers * block)
    preset = REPOSITORY / "workflow" / "presets" / f"{model}.yaml"
    settings = load(yaml.safe_load(preset.read_text(encoding="utf-8")))[model]
    price = forecast(settings, shape)
    assert pytest.approx(caching, rel=0.01) == price.dense_caching / 1e15
    assert pytest.approx(training, rel=0.01) == price.dense_training / 1e15
    # The paper's baseline has an SAE for the last layer, too. Its numbers have three digits.
    assert (price.dense_caching + n_layers * price.dense_training) / 1e18 == pytest.approx(
        per_layer, rel=0.01
    )
    arms = {arm.name: arm for arm in price.arms}
    assert arms["per-layer"].n_saes == n_layers - 1
    whole = price.dense_caching + (n_layers - 1) * price.dense_training
    assert arms["per-layer"].dense == pytest.approx(whole, rel=1e-4), "in whole batches"
    chosen = arms[f"complete-{count}"]
    assert (chosen.n_saes, chosen.n_trained) == (count, count)
    assert chosen.dense / 1e18 == pytest.approx(shared, rel=0.01)
    assert chosen.here < chosen.dense / 2, "decoders are sparse"
    # Narrower SAEs are to cost what the chosen number of clusters does, as they are trained here.
    (narrower,) = (arm for name, arm in arms.items() if "narrower" in name)
    assert narrower.here == pytest.approx(chosen.here, rel=0.01)
