"""Which shards and checkpoints a job reads where shards pass by, and what a window waits for."""

import os

import pytest
from test_inputs import MODEL, Checkpoints, inputs, wildcards  # noqa: F401 (a fixture)

from clustersae.experiment.streaming import Streaming

#: Five shards of 200 tokens, two at most in a window: windows 0 (one shard), 1 and 2 (two each).
PASSING = {"tokens": {"train": 1000, "validation": 1, "test": 1}, "shard_tokens": 200, "window": 2}
#: Ten batches of 100; the root of specialised arms at 0.5 of it reads 250 tokens, three times.
SAE = {"training_tokens": 1000, "batch_size": 100, "learning_rate": 0.1}
SHARD = "results/m/activations/{}.safetensors"
FOLDER = "results/{}/saes/{}/{}/seed-{}"


@pytest.fixture
def streaming(inputs):  # noqa: F811
    for model in ("m", "wide"):
        settings = inputs.models[model]
        settings["activations"] = PASSING | {"keep": False}
        settings["sae"] = MODEL["sae"] | SAE
    return Streaming(inputs)


def of(window=None, variant="base", sae="0", model="m", seed=7):
    given = {} if window is None else {"window": str(window)}
    return wildcards(model, variant=variant, sae=sae, seed=str(seed), **given)


def test_a_job_reads_the_shards_of_its_window_and_the_last_job_those_of_the_last(streaming):
    assert streaming.passing(of(0)) == []
    for window, shards in {1: [1, 2], 2: [3, 4], None: [3, 4]}.items():
        folder = f"stream/{2 if window is None else window}"
        expected = [SHARD.format(f"{folder}/shard-{number}") for number in shards]
        assert streaming.passing(of(window)) == expected
        assert streaming.passing(of(window, model="wide")) == expected
    # The root of the specialised SAEs has read 750 tokens: they begin in window 2, go on in 3,
    # which is window 0 again, and end there.
    child = {"variant": "tokens-1of4@tokens-3of4", "sae": "1@0-2"}
    assert streaming.before(of(2, **child)) == []
    assert streaming.passing(of(None, **child))
    assert streaming.passing(of(3, **child | {"variant": "base@tokens-3of4"})) == []
    assert streaming.later(of(1)) == streaming.later(of(None)) == []


def test_shards_that_were_deleted_are_asked_for_again(streaming, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shard = tmp_path / SHARD.format("train/shard-0")
    statistics = shard.parents[1] / "statistics.safetensors"
    assert streaming.gone(of(0)) == []  # the statistics wait for all of them
    shard.parent.mkdir(parents=True)
    statistics.touch()
    assert streaming.gone(of(1)) == []  # it does not read them
    assert streaming.gone(of(0)) == [SHARD.format("train/shard-0")]
    assert streaming.gone(of(0, model="wide")) == [SHARD.format("train/shard-0")]
    shard.touch()
    os.utime(statistics, (1, 1))  # made again
    assert streaming.gone(of(0)) == []


def test_a_job_goes_on_from_the_window_before(streaming):
    assert streaming.before(of(0)) == []
    folder = FOLDER.format("m", "base", "0", 7)
    assert streaming.before(of(1)) == [f"{folder}/windows/0", f"{folder}/windows/0.json"]
    assert streaming.before(of(None)) == [f"{folder}/windows/1", f"{folder}/windows/1.json"]
    assert streaming.before(of(None, variant="tokens-1of10")) == []
    assert streaming.text(of(1)) == ["results/m/corpus/train.safetensors"]


def test_a_window_is_made_when_every_sae_has_read_the_one_two_before(streaming):
    assert streaming.read(wildcards(window="1")) == []
    found = streaming.read(wildcards(window="2"))
    assert len(found) == len(set(found))
    for model in ("m", "wide"):
        for seed in (7, 8):
            for name in ("0", "1", "2", "0-1"):
                folder = FOLDER.format(model, "base", name, seed)
                assert f"{folder}/windows/0.json" in found
    # Specialised SAEs begin later, and SAEs whose last window it was are there as a whole.
    assert not [file for file in found if "@" in file.split("/")[4]]
    assert [file for file in streaming.read(wildcards(window="3")) if "@" in file.split("/")[4]]
    late = streaming.read(wildcards(window="4"))
    assert FOLDER.format("m", "base", "0", 7) + "/training.json" in late


def test_what_caching_has_cost_is_what_was_made(streaming):
    files = streaming.caching("{model}/{shard}", "{model}/{window}-{shard}")(wildcards("wide"))
    assert files == ["m/0", "m/1-1", "m/1-2", "m/2-3", "m/2-4"]
    windows = streaming.of_windows("{sae}/{seed}/{window}")(wildcards())
    assert {"0/7/0", "0/7/1", "0/8/0", "0-1/8/1"} <= set(windows)
    assert "0/7/2" not in windows


def test_where_shards_stay_nothing_passes_by(inputs):  # noqa: F811
    streaming = Streaming(inputs)
    assert streaming.later(of()) == []
    assert streaming.passing(of()) == streaming.before(of()) == streaming.text(of()) == []
    assert streaming.of_windows("{window}")(wildcards()) == []
    inputs.models["m"]["activations"] = PASSING | {"keep": True}
    assert inputs.first_shards(wildcards()) == [SHARD.format("train/shard-0")]
    assert streaming.later(of()) == [
        SHARD.format(f"train/shard-{number}") for number in (1, 2, 3, 4)
    ]
