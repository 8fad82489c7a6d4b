"""The script as a job runs it: from shards on disk to an SAE, also when it is killed on the way."""

import pytest
import torch
import train_sae

from clustersae.activations.blocks import read_blocks
from clustersae.activations.shards import open_shards, write_shard
from clustersae.activations.statistics import compute_statistics, save_statistics
from clustersae.errors import InputError
from clustersae.files import read_json
from clustersae.sae.checkpoint import Checkpoint
from clustersae.sae.storage import load_sae
from clustersae.sae.training import Trainer

N_LAYERS, D_MODEL = 3, 8
CONFIG = {
    "architecture": "topk",
    "d_sae": 24,
    "expansion": 1,
    "k": 3,
    "tokens": 6400,
    "batch_size": 128,
    "learning_rate": 0.005,
    "warmup_fraction": 0.1,
    "decay_fraction": 0.2,
    "auxk_coefficient": 0.03125,
    "dead_after": 500,
    "grad_clip": 1.0,
}


@pytest.fixture
def data(tmp_path):
    generator = torch.Generator().manual_seed(0)
    paths = []
    for shard, n_rows in enumerate((1000, 700)):
        layers = [
            torch.randn(n_rows, D_MODEL, generator=generator) * (layer + 1) + 10 * layer
            for layer in range(N_LAYERS)
        ]
        column = torch.zeros(n_rows, dtype=torch.int32)
        paths.append(tmp_path / f"shard-{shard}.safetensors")
        write_shard(
            paths[-1], layers, column, column.clone(), column.clone(),
            fingerprint="f" * 64, hook="hook", split="train", shard=shard, seed=0,
        )  # fmt: skip
    statistics = compute_statistics(read_blocks(open_shards(paths)))
    save_statistics(tmp_path / "statistics.safetensors", statistics, "f" * 64)
    return paths, tmp_path / "statistics.safetensors"


def run(data, folder, cluster="0-2", variant="base", seed=1, config=CONFIG):
    shards, statistics = data
    where = torch.device("cpu")
    train_sae.main(shards, statistics, folder, cluster, variant, seed, config, where, "code")
    return load_sae(folder).state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_job_gives_the_same_bits_and_another_seed_others(data, tmp_path):
    first, again = run(data, tmp_path / "a"), run(data, tmp_path / "b")
    assert same(first, again)
    assert (tmp_path / "a/sae.safetensors").read_bytes() == (
        tmp_path / "b/sae.safetensors"
    ).read_bytes()
    assert not same(first, run(data, tmp_path / "c", seed=2))


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 17, 49])
def test_a_killed_job_ends_with_the_bits_of_an_undisturbed_one(data, tmp_path, monkeypatch, stop):
    undisturbed = run(data, tmp_path / "whole")
    step = Trainer.step

    def step_until_killed(trainer, batch):
        if trainer.step_number == stop:
            raise Killed
        step(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step_until_killed)
        patch.setattr(Checkpoint, "__call__", Checkpoint.save)  # after every step
        with pytest.raises(Killed):
            run(data, tmp_path / "killed")
    assert not (tmp_path / "killed" / "sae.safetensors").exists()
    assert same(run(data, tmp_path / "killed"), undisturbed)
    record = read_json(tmp_path / "killed" / "training.json")
    assert record["resumed_at_step"] == stop
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()
    whole, resumed = (
        [line.rsplit(",", 1)[0] for line in (tmp_path / name / "history.csv").read_text().split()]
        for name in ("whole", "killed")
    )
    assert resumed == whole


def test_statistics_of_another_model_are_refused(data, tmp_path):
    shards, _ = data
    statistics = compute_statistics(read_blocks(open_shards(shards)))
    save_statistics(tmp_path / "other.safetensors", statistics, "e" * 64)
    with pytest.raises(InputError, match="holds activations of another model"):
        run((shards, tmp_path / "other.safetensors"), tmp_path / "a")


def test_cost_counts_operations_of_all_activations(data, tmp_path):
    run(data, tmp_path / "a")
    record = read_json(tmp_path / "a" / "training.json")
    assert record["activations"] == 6400
    assert record["flops"] == 6400 * (2 * 8 * 24 + 8 * 3 * 8)
    assert record["seconds"] > 0
