"""What is printed of a plan and its price."""

from dataclasses import replace

import pytest
from configurations import load

from clustersae.cost.forecast import forecast
from clustersae.cost.listing import arms_table, jobs_table, number_of_bytes, saes_table, totals
from clustersae.cost.rates import Rates
from clustersae.experiment.planning import make_plan
from clustersae.experiment.shape import Shape
from clustersae.runtime.machine import Machine

CONFIG = {
    "models": {"m": {"repo": "some/model", "corpus": {"source": "dataset", "dataset": "a/b"}}},
    "activations": {"tokens": {"train": 2_000_000, "validation": 1000, "test": 1000}},
    "sae": {"training_tokens": 100_000, "batch_size": 128, "min_steps": 0, "seeds": [0, 1]},
    "arms": {
        "per_layer": [1], "shared": {"counts": [2]}, "auto": [],
        "specialised": [{"from": 1, "budgets": [0.5]}],
        "controls": {"methods": ["even"], "counts": [3]},
    },
}  # fmt: skip
LARGE = Machine(cores=8, memory=1 << 40, disk=1 << 40)
RATES = Rates(1e9, 2e9, "as measured in the run of m on cpu")
PARTITIONS = {
    "n_layers": 4,
    "partitions": {
        "single": {"method": "single", "clusters": ["0-3"]},
        "complete-2": {"method": "complete", "clusters": ["0-1", "2-3"]},
        "even-3": {"method": "even", "clusters": ["0", "1", "2-3"]},
        "per-layer": {"method": "per-layer", "clusters": ["0", "1", "2", "3"]},
    },
}


@pytest.fixture
def settings():
    return load(CONFIG)["m"]


@pytest.fixture
def price(settings):
    return forecast(settings, Shape(4, 64, 256, 100, 4 * 12 * 64**2), PARTITIONS)


def test_every_arm_stands_with_its_price(price):
    lines = list(arms_table(price, RATES))
    for arm in price.arms:
        (line,) = (line for line in lines if line.partition("  ")[0] == arm.name)
        assert f"{arm.dense:.3e}" in line
        assert f"{arm.here:.2e}" in line
    head = lines[0].split()
    assert head == ["arm", "SAEs", "trained", "budget", "A", "+", "K·T", *head[7:]]
    (row,) = (line.split() for line in lines if line.startswith("complete-2 "))
    assert row[-1] == "s"
    caching, trainings = price.arms[1].caching / 1e9, (price.arms[1].here) / 2e9
    trainings -= price.arms[1].caching / 2e9
    assert int(row[-2]) == pytest.approx(caching + trainings + 3 * 2, abs=1)
    assert "run of m on cpu" in "\n".join(lines)


def test_without_a_rate_there_are_operations_and_no_times(price):
    lines = list(arms_table(price, None))
    assert lines[-1].startswith("No times:")
    assert f"{price.arms[0].dense:.3e}" in lines[1]
    assert not any("hours" in line or "Time" in line for line in totals(price, None, LARGE, 2))


def test_every_sae_stands_with_what_it_starts_from(settings):
    lines = list(saes_table(make_plan(PARTITIONS, settings).as_json(settings["sae"])))
    (child,) = (line for line in lines if line.startswith("2@0-3"))
    # Half of 4 x 100,000, three quarters of it spread over four, in whole batches.
    assert child.split() == [
        "2@0-3",
        "tokens-3of8@equal-exposure-1of8",
        "37,504",
        "0-3",
        "(equal-exposure-1of8)",
    ]
    assert lines[-1].startswith("15 SAEs x 2 seeds")


def test_jobs_stand_with_the_memory_of_the_largest(price):
    rows = {line.split()[0]: line.split()[1:] for line in jobs_table(price, RATES)}
    assert rows["train_sae"][0] == str(15 * 2)
    assert rows["cache_activations"][0] == str(8 + 1 + 1)
    assert " ".join(rows["train_sae"][1:3]) == number_of_bytes(price.memory["train_sae"])
    assert rows["evaluate_splice"][0] == "5"
    assert rows["evaluate_reconstruction"][0] == "14"
    assert rows["build_browser"] == ["1"]


def test_a_machine_that_has_enough_is_not_warned_of(price):
    assert not any(line.startswith("Warning") for line in totals(price, RATES, LARGE, 8))


@pytest.mark.parametrize(
    ("changes", "n_jobs", "warning"),
    [
        ({"disk": 10**9}, 1, "2.1 GB more are wanted on a disk with 1.0 GB free"),
        ({"memory": 10**8}, 1, "a job of train_sae wants about"),
        ({"memory": 2 * 10**9}, 8, "start fewer (--cores 2)"),
    ],
)
def test_too_little_of_anything_is_said_once(price, changes, n_jobs, warning):
    machine = LARGE._replace(**changes)
    said = [line for line in totals(price, RATES, machine, n_jobs) if line.startswith("Warning")]
    assert any(warning in line for line in said), said


def test_what_is_on_the_disk_already_is_not_wanted_again(price):
    there = price.cache_bytes + price.sae_bytes
    full = LARGE._replace(disk=10**8)
    assert any("free" in line for line in totals(price, RATES, full, 1))
    assert not any("free" in line for line in totals(price, RATES, full, 1, present=there))


def test_where_shards_pass_by_checkpoints_of_all_trainings_wait_on_the_disk(price):
    there = price.cache_bytes + price.sae_bytes
    full = LARGE._replace(disk=10**8)
    assert not any("wait for shards" in line for line in totals(price, RATES, full, 1))
    streamed = replace(price, waiting_bytes=3 * 10**9)
    told = list(totals(streamed, RATES, full, 1, present=there))
    assert any("and 3.0 GB for those that wait for shards" in line for line in told)
    assert any(line.startswith("Warning: 3.0 GB more are wanted") for line in told)


def test_a_model_that_caches_nothing_needs_no_memory_for_it(price):
    jobs = {rule: n for rule, n in price.jobs.items() if rule != "cache_activations"}
    price = replace(price, jobs=jobs, memory=price.memory | {"cache_activations": 1 << 50})
    assert not any(line.startswith("Warning") for line in totals(price, RATES, LARGE, 8))


def test_bytes_have_their_unit():
    assert [number_of_bytes(each) for each in (12_345, 3.4e6, 5e9, 1.69e13)] == [
        *("12 kB", "3.4 MB", "5.0 GB", "16.9 TB")
    ]
