"""How fast earlier jobs were, from records written by hand."""

import json
import os

import pytest

from clustersae.cost.rates import JOB_SECONDS, Rates, measured_last


def run(results, name, speed, when, caches=True, trains=True):
    """Records of a model whose jobs did `speed` operations per second, made at `when`.

    Caching is twice as fast; so is training with its tuning, of which a second does 2.5 times more.
    """
    if caches:
        folder = results / name / "activations" / "train"
        folder.mkdir(parents=True)
        for shard, seconds in enumerate((1.0, 3.0)):
            record = {"flops": 2 * speed * seconds, "seconds": seconds}
            (folder / f"shard-{shard}.json").write_text(json.dumps(record))
    for seed, tuning in enumerate((8.0, 0.0) if trains else ()):
        folder = results / name / "saes" / "base" / "0-3" / f"seed-{seed}"
        folder.mkdir(parents=True)
        record = {
            **{"flops": speed * 2.0, "seconds": 2.0, "device": "a device"},
            **{"tuning_flops": 2.5 * speed * tuning, "tuning_seconds": tuning},
        }
        (folder / "training.json").write_text(json.dumps(record))
        os.utime(folder / "training.json", (when, when))


def test_a_models_own_run_comes_before_a_later_one_of_another(tmp_path):
    run(tmp_path, "mine", 1e9, when=1)
    run(tmp_path, "also", 5e9, when=2)
    rates = measured_last(tmp_path, "mine", "mine")
    assert rates == Rates(2e9, pytest.approx(2e9), "as measured in the run of mine on a device")
    assert measured_last(tmp_path, "new", "new").training == pytest.approx(10e9)


def test_a_model_of_anothers_activations_has_the_rate_of_caching_from_there(tmp_path):
    run(tmp_path, "mine", 1e9, when=1)
    run(tmp_path, "wide", 3e9, when=2, caches=False)
    rates = measured_last(tmp_path, "wide", "mine")
    assert (rates.caching, rates.training) == (2e9, pytest.approx(6e9))


def test_without_a_run_there_is_no_rate(tmp_path):
    assert measured_last(tmp_path / "results", "mine", "mine") is None
    run(tmp_path, "wide", 3e9, when=2, caches=False)
    run(tmp_path, "mine", 3e9, when=2, trains=False)
    assert measured_last(tmp_path, "mine", "mine") is None


def test_hours_are_operations_and_the_start_of_every_job():
    rates = Rates(caching=1e6, training=2e6, source="")
    assert rates.caching_hours(3.6e9) == pytest.approx(1 + JOB_SECONDS / 3600)
    assert rates.training_hours(3.6e9, 900) == pytest.approx(0.5 + 900 * JOB_SECONDS / 3600)
