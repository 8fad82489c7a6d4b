"""What is proposed fits the model, the text and the machine, and is a valid configuration."""

from pathlib import Path

import pytest
import torch
import yaml
from configurations import bare_model, load
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.corpora.packing import split_rows
from clustersae.cost.forecast import forecast
from clustersae.experiment.config import RESERVED_NAMES
from clustersae.experiment.layers import studied_layers
from clustersae.runtime.errors import InputError
from clustersae.runtime.machine import Machine
from clustersae.setup.facts import ModelFacts
from clustersae.setup.proposal import LEAST_TOKENS, as_yaml, model_name, propose
from clustersae.setup.sample import TextFacts

GIB = 1 << 30

models = st.builds(
    ModelFacts,
    key=st.just("path"),
    place=st.just("my model"),
    n_layers=st.integers(1, 130),
    d_model=st.integers(8, 20_000),
    vocab_size=st.integers(2, 300_000),
    n_ctx=st.none() | st.integers(4, 10**6),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
machines = st.builds(
    Machine,
    cores=st.integers(1, 200),
    memory=st.integers(4 * GIB, 2000 * GIB),
    disk=st.integers(100 * GIB, 10_000 * GIB),
    gpu=st.sampled_from([None, "a GPU"]),
)


def text_of(n_tokens: int | None, source: str = "text") -> TextFacts:
    corpus = {"source": "text", "files": ["text.txt"], "separator": "<|endoftext|>"}
    if source == "dataset":
        corpus = {"source": "dataset", "dataset": "some/stories", "field": "text"}
    return TextFacts(corpus, n_tokens and 4 * n_tokens, n_tokens, measured=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the configuration's files are found."""
    folder = tmp_path_factory.mktemp("proposal")
    (folder / "text.txt").write_text("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@settings(deadline=None, max_examples=50)
@given(model=models, machine=machines, n_tokens=st.none() | st.integers(20_000, 10**9))
def test_it_is_valid_and_fits_whatever_there_is(folder, model, machine, n_tokens):
    shape = {"num_hidden_layers": model.n_layers, "hidden_size": model.d_model}
    bare_model(folder / "my model", shape)
    text = text_of(n_tokens, "text" if n_tokens else "dataset")
    config = propose(model, text, machine)
    assert yaml.safe_load(as_yaml(config, model, text, Path("c.yaml"))) == config

    ((name, complete),) = load(config).items()
    tokens, corpus = complete["activations"]["tokens"], complete["corpus"]
    assert name == "my-model"
    available = n_tokens or corpus["max_tokens"]
    shares = corpus["fractions"] | {"train": 1 - sum(corpus["fractions"].values())}
    assert all(count < shares[split] * available for split, count in tokens.items())
    cost = forecast(complete, model.shape(corpus["n_ctx"]))
    assert cost.cache_bytes <= machine.disk / 4
    assert cost.arms[0].n_saes == len(
        studied_layers(complete["activations"]["layers"], model.n_layers)
    )
    assert corpus["n_ctx"] <= (model.n_ctx or 256)


@pytest.mark.parametrize("n_ctx", [32, 100, 256])
@pytest.mark.parametrize("of_hub", [False, True])
def test_a_short_text_gives_what_is_asked_of_it(n_ctx, of_hub):
    """Rows are whole, and one token in ten may be special: the corpus has enough all the same."""
    model = ModelFacts("path", "m", 4, 64, 1000, n_ctx, "float32")
    # Of texts of the Hub, as much is read as is asked for: little where the disk is small.
    for n_tokens in range(6300, 40_000, 37):
        text = text_of(None if of_hub else n_tokens, "dataset" if of_hub else "text")
        config = propose(model, text, Machine(2, 8 * GIB, 23_000 * n_tokens // 4, None))
        corpus = config["models"]["m"]["corpus"]
        rows = torch.zeros((corpus["max_tokens"] if of_hub else n_tokens) // n_ctx, n_ctx)
        for split, part in split_rows(rows, *corpus["fractions"].values()).items():
            asked = config["activations"]["tokens"][split]
            assert 0 < asked <= 0.9 * part.numel(), (n_tokens, split)


@pytest.mark.parametrize(
    ("n_tokens", "disk", "message"),
    [
        (1000, 100 * GIB, r"the text has about 1,000 tokens: give more of it"),
        (10**6, 10**6, r"the disk has too little room"),
    ],
)
def test_too_little_is_refused(n_tokens, disk, message):
    model = ModelFacts("path", "m", 12, 768, 50_000, 1024, "float32")
    with pytest.raises(InputError, match=rf"{message}.*{LEAST_TOKENS:,} tokens"):
        propose(model, text_of(n_tokens), Machine(2, 8 * GIB, disk, None))


def test_a_gpu_gets_every_layer_and_a_processor_some():
    model = ModelFacts("repo", "some/model", 30, 576, 50_000, 1024, "bfloat16")
    text = text_of(10**8)
    alone = propose(model, text, Machine(2, 8 * GIB, 1000 * GIB, None))
    with_gpu = propose(model, text, Machine(2, 8 * GIB, 1000 * GIB, "a GPU"))
    assert alone["activations"]["layers"] == {"step": 3}
    assert with_gpu["activations"]["layers"] == "all"
    assert "dtype" not in alone["models"]["model"]
    assert with_gpu["models"]["model"]["dtype"] == "auto"
    trained = [each["activations"]["tokens"]["train"] for each in (alone, with_gpu)]
    assert trained == [400_000, 4_000_000]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("openai-community/gpt2", "gpt2"),
        ("/models/SmolLM2-135M", "SmolLM2-135M"),
        ("/models/my model.gguf", "my-model"),
        ("models/größe", "gr-e"),
        ("models/...", "model"),
        *((f"models/{name}", f"{name}-model") for name in RESERVED_NAMES if "." not in name),
    ],
)
def test_a_model_has_the_name_of_a_folder(place, name):
    assert model_name(place) == name


@pytest.mark.parametrize("value", [5e-05, 0.05, 1.0, "no", "a b", "~/x.txt", 'q"uote', None, "1"])
def test_values_come_back_from_yaml_as_they_were(value):
    model = ModelFacts("path", "m", 2, 8, 50, None, "float32")
    text = text_of(10**6)
    config = propose(model, text, Machine(2, 8 * GIB, 1000 * GIB, None))
    config["models"]["m"]["corpus"]["separator"] = value
    assert yaml.safe_load(as_yaml(config, model, text, Path("c.yaml"))) == config
