"""Every ready configuration passes the checks that come before any job."""

import re
from pathlib import Path

import pytest
import yaml
from configurations import bare_model, language_models, load

from clustersae.experiment.layers import studied_layers
from clustersae.experiment.sae_settings import resolve

ROOT = Path(__file__).parents[3]
#: config.json of the local models that presets ask their user to put in place.
LOCAL_MODELS = {
    "smollm2": {"num_hidden_layers": 30, "hidden_size": 576},
    "stories260k": {"num_hidden_layers": 5, "hidden_size": 64},
}


def put_in_place(given):
    """Stand-ins below the current folder for the texts and models that a preset asks for."""
    for model in (*given["models"].values(), *given.get("language_models", {}).values()):
        for name in model.get("corpus", {}).get("files", []):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("Once upon a time.")
        if "path" in model:
            folder = Path(model["path"])
            bare_model(folder, LOCAL_MODELS[folder.name])


@pytest.mark.parametrize(
    "path",
    [ROOT / "config.yaml", *sorted((ROOT / "workflow" / "presets").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_a_ready_configuration_is_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    put_in_place(given)
    models = load(given)
    for settings in models.values():
        n_rows = settings["activations"]["tokens"]
        assert settings["sae"]["training_tokens"] >= settings["sae"]["batch_size"]
        assert n_rows["train"] > n_rows["test"]
        assert len(settings["sae"]["seeds"]) >= 3, "a result needs three seeds"


#: The published runs: batch, iterations, rate, warm-up, iterations between evaluations and logs.
PUBLISHED = {
    "shakespeare_char": (64, 5_000, 1e-3, 100, 250, 10),
    "enwik8": (32, 100_000, 5e-4, 200, 1_000, 100),
    "text8": (32, 100_000, 5e-4, 200, 1_000, 100),
}


def preset(name):
    path = ROOT / "workflow" / "presets" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_is_trained_as_published(name):
    rows, steps, rate, warmup, evaluate, log = PUBLISHED[name]
    models = load(preset(name))
    assert {model: each["sae"]["expansion_factor"] for model, each in models.items()} == {
        name: 8,
        f"{name}-16x": 16,
    }
    assert {each["trained"] for each in models.values()} == {name}
    (model,) = language_models(preset(name)).values()
    assert (model["corpus"]["name"], model["corpus"]["n_ctx"]) == (name, 256)
    assert model["corpus"]["checksum"] == "published"
    assert model["architecture"] == {
        **{"n_layers": 6, "d_model": 384, "n_heads": 6, "bias": False},
        "initializer_range": 0.02,
    }
    training = {
        **{"steps": steps, "batch_rows": rows, "learning_rate": rate},
        **{"warmup_steps": warmup, "min_learning_rate_fraction": 0.1, "weight_decay": 0.1},
        **{"betas": [0.9, 0.99], "grad_clip": 1.0, "dropout": 0.2, "sampling": "offsets"},
        **{"evaluate_every": evaluate, "evaluate_batches": 200, "log_every": log},
        **{"dtype": "bfloat16", "compile": True, "record": True, "published": name},
        **{"seed": 1337, "other_seeds": [1338, 1339] if name == "shakespeare_char" else []},
    }
    assert model["training"] == training


def test_the_baseline_on_a_cpu_has_the_size_that_is_asked_for():
    (model,) = preset("shakespeare_char_cpu")["language_models"].values()
    shape, training = model["architecture"], model["training"]
    assert (shape["n_layers"], shape["n_heads"], shape["d_model"]) == (4, 4, 128)
    assert (model["corpus"]["n_ctx"], training["batch_rows"], training["steps"]) == (64, 12, 2000)


def test_presets_of_published_models_can_be_run_together():
    """Whatever sets them apart is said of each model, so none is changed by another's file."""
    together = {"language_models": {}, "models": {}}
    for name in PUBLISHED:
        given = preset(name)
        assert given.keys() == together.keys()
        for section in together:
            together[section] |= given[section]
    apart = {name: load(preset(name))[name] for name in PUBLISHED}
    assert {name: load(together)[name] for name in PUBLISHED} == apart


#: Group-SAE (arXiv 2410.21508): tokens of a batch, learning rate, layers of the model, K.
GROUP_SAE = {
    "pythia-160m": (131_072, 2.31e-4, 12, 6),
    "pythia-410m": (65_536, 2.0e-4, 24, 9),
    "pythia-1b": (32_768, 1.41e-4, 16, 6),
}


@pytest.mark.parametrize("name", GROUP_SAE)
def test_pythia_is_studied_with_the_published_settings(name):
    batch_size, rate, n_layers, chosen = GROUP_SAE[name]
    settings = load(preset(name))[name]
    d_model = {"pythia-160m": 768, "pythia-410m": 1024, "pythia-1b": 2048}[name]
    own = resolve(settings["sae"], "base", 1, d_model, seed=0)
    assert (own.architecture, own.d_sae, own.k) == ("topk", 16 * d_model, 128)
    assert own.batch_size == batch_size
    assert own.n_activations == pytest.approx(1e9, rel=1e-3)
    assert settings["activations"]["tokens"]["train"] == 10**9, "every token once"
    assert own.learning_rate == pytest.approx(rate, rel=5e-3)
    assert {own.learning_rate_at(step) for step in (0, own.n_steps - 1)} == {own.learning_rate}
    assert (own.auxk_alpha, own.dead_after, own.max_grad_norm) == (1 / 32, 10**7, 1)
    layers = studied_layers(settings["activations"]["layers"], n_layers)
    assert layers == tuple(range(n_layers - 1)), "all but the last"
    corpus = settings["corpus"]
    assert (corpus["dataset"], corpus["n_ctx"]) == ("NeelNanda/pile-small-tokenized-2b", 1024)
    assert corpus["tokenised"]
    assert settings["clustering"]["tokens"] == 10**7
    assert settings["arms"]["shared"] == {
        "counts": list(range(1, n_layers - 1)),
        "methods": ["complete"],
    }
    assert settings["arms"]["controls"]["counts"] == [chosen]


@pytest.mark.parametrize(
    "name", [*GROUP_SAE, "gpt2-small", "llama-3.2-1b", "gemma-2-2b", "qwen3-0.6b"]
)
def test_what_is_downloaded_is_pinned_and_holds_enough_text(name):
    settings = load(preset(name))[name]
    corpus = settings["corpus"]
    for revision in (settings["revision"], corpus["revision"]):
        assert re.fullmatch("[0-9a-f]{40}", revision), "a commit, which nobody can move"
    # Of every row, the first token is left out.
    shares = corpus["fractions"] | {"train": 1 - sum(corpus["fractions"].values())}
    kept = corpus["max_tokens"] * (1 - 1 / corpus["n_ctx"])
    for split, n_tokens in settings["activations"]["tokens"].items():
        assert n_tokens < shares[split] * kept * 0.998, split
    assert settings["evaluation"]["splice_tokens"] < shares["test"] * kept
