"""The script as a job runs it: from shards on disk to an SAE, also when it is killed on the way."""

import math
import os
import signal

import pytest
import torch
import train_sae
from killed import killed_after
from sae_settings_of import sae_section
from synthetic_shards import made_shard, write_split, write_statistics

from clustersae.activations.shards import open_shards
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json
from clustersae.runtime.tensors import load_tensors
from clustersae.sae import fitting, training
from clustersae.sae.storage import load_sae
from clustersae.sae.training import Diverged, Trainer
from clustersae.sae.validation import validate

CONFIG = sae_section(3, 6400, d_sae=24, learning_rate=0.005)
#: The first barely moves, so the second is the best.
RATES = [1e-7, 0.01, 0.003]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    paths = write_split(folder)
    return {
        "shards": paths,
        "statistics": write_statistics(folder / "statistics.safetensors", paths),
        "validation": write_split(folder, "validation", rows=(300,)),
    }


def run(data, folder, name="0-2", variant="base", seed=1, config=CONFIG, **more):
    where = torch.device("cpu")
    train_sae.main(
        **data, folder=folder, name=name, variant=variant, seed=seed, config=config,
        devices=[where], code="code", **more,
    )  # fmt: skip
    return load_sae(folder).state_dict()


def child(data, folder, start, name="1@0-2", config=CONFIG, learning_rate=None, **more):
    own = config | {"specialise": {"learning_rate": learning_rate}}
    return run(data, folder, name, "tokens-1of5@base", config=own, start=start, **more)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_job_gives_the_same_bits_and_another_seed_others(data, tmp_path):
    first, again = run(data, tmp_path / "a"), run(data, tmp_path / "b")
    assert same(first, again)
    assert (tmp_path / "a/sae.safetensors").read_bytes() == (
        tmp_path / "b/sae.safetensors"
    ).read_bytes()
    assert not same(first, run(data, tmp_path / "c", seed=2))


def histories(*folders):
    """All columns but the last, which is the speed."""
    return [
        [line.rsplit(",", 1)[0] for line in (folder / "history.csv").read_text().split()]
        for folder in folders
    ]


def test_a_crosscoder_reads_tokens_at_all_layers_and_goes_on_where_it_was_killed(
    data, tmp_path, monkeypatch
):
    own = CONFIG | {"learning_rate": RATES}

    def train(folder):
        return run(data, tmp_path / folder, variant="crosscoder-1of2", config=own)

    whole = train("whole")
    config, record = (read_json(tmp_path / f"whole/{file}.json") for file in ("cfg", "training"))
    assert whole["W_dec"].shape == (24, 3 * 8)
    assert (config["layers_at_once"], config["d_model"], config["n_steps"]) == (3, 8, 25)
    assert record["activations"] == 3 * 3200
    assert record["tokens_reached"] == 3200
    # By hand: 3 layers of 8 dimensions in one row, 24 latents of which 3 are active.
    of_optimiser = 16 * (2 * 24 * 24 + 24 + 24) + 7 * 24 * 24
    assert record["flops"] == 3200 * 24 * (2 * 24 + 8 * 3) + 25 * of_optimiser
    # The rate is chosen as that of any SAE.
    assert (record["learning_rate"], len(record["validation_fvu"])) == (0.01, 3)
    killed_after(40, monkeypatch, lambda: train("killed"))
    assert same(train("killed"), whole)


@pytest.mark.parametrize("stop", [1, 17, 49])
def test_a_killed_job_ends_with_the_bits_of_an_undisturbed_one(data, tmp_path, monkeypatch, stop):
    """What AuxK revives, looked for every 16 steps, is part of what must resume."""
    config = CONFIG | {"d_sae": 256, "dead_after": 128}
    undisturbed = run(data, tmp_path / "whole", config=config)
    killed_after(stop, monkeypatch, lambda: run(data, tmp_path / "killed", config=config))
    assert not (tmp_path / "killed" / "sae.safetensors").exists()
    state, _ = load_tensors(tmp_path / "killed" / "checkpoint-0.safetensors")
    assert bool(len(state["dead"])) == (stop > 16)
    assert same(run(data, tmp_path / "killed", config=config), undisturbed)
    record = read_json(tmp_path / "killed" / "training.json")
    assert record["resumed_at_step"] == stop
    whole, resumed = histories(tmp_path / "whole", tmp_path / "killed")
    assert resumed == whole


def test_no_checkpoint_is_left_behind(data, tmp_path, monkeypatch):
    names = {"sae.safetensors", "cfg.json", "history.csv", "training.json"}
    run(data, tmp_path / "one")
    assert {file.name for file in (tmp_path / "one").iterdir()} == names
    # A checkpoint of a third rate, which is asked for no more, goes as well.
    several = CONFIG | {"learning_rate": RATES}
    killed_after(101, monkeypatch, lambda: run(data, tmp_path / "three", config=several))
    assert (tmp_path / "three" / "checkpoint-2.safetensors").exists()
    run(data, tmp_path / "three", config=CONFIG | {"learning_rate": RATES[:2]})
    assert {file.name for file in (tmp_path / "three").iterdir()} == names


def test_statistics_of_another_model_are_refused(data, tmp_path):
    other = write_statistics(tmp_path / "other.safetensors", data["shards"], "e" * 64)
    with pytest.raises(InputError, match="describes the activations of model"):
        run(data | {"statistics": other}, tmp_path / "a")


def test_cost_counts_operations_of_all_activations(data, tmp_path):
    run(data, tmp_path / "a")
    record = read_json(tmp_path / "a" / "training.json")
    assert record["activations"] == 6400
    # 50 steps of Adam and clipping on 416 parameters, 192 of them in the decoder.
    adam = 50 * (16 * (2 * 8 * 24 + 24 + 8) + 7 * 8 * 24)
    assert record["flops"] == 6400 * (2 * 8 * 24 + 8 * 3 * 8) + adam
    assert record["tokens_reached"] == 6400
    assert record["tuning_flops"] == 0
    assert record["seconds"] > 0
    assert (record["learning_rate"], record["tuning_seconds"]) == (0.005, 0)
    assert record["validation_fvu"] == {}


def test_a_child_goes_on_from_its_parent(data, tmp_path):
    root, one, other = (tmp_path / name for name in ("root", "one", "other"))
    run(data, root)
    own = child(data, one, root, "1-2@0-2", learning_rate=0.002)
    child(data, other, root, "2@0-2")

    known = [read_json(folder / "cfg.json") for folder in (root, one, other)]
    assert [config["cluster"] for config in known] == ["0-2", "1-2@0-2", "2@0-2"]
    assert [config["layers"] for config in known] == [[0, 1, 2], [1, 2], [2]]
    assert [config["first_step"] for config in known] == [0, 50, 50]
    assert [config["n_steps"] for config in known] == [50, 10, 10]
    assert [config["learning_rate"] for config in known] == [0.005, 0.002, 0.005]
    assert known[1]["variant"] == "tokens-1of5@base"
    record = read_json(one / "training.json")
    assert record["activations"] == 1280  # its own: what the parent cost stands there
    assert record["learning_rate"] == 0.002
    assert (one / "history.csv").read_text().splitlines()[-1].startswith("10,1280,")

    assert same(own, child(data, tmp_path / "b", root, "1-2@0-2", learning_rate=0.002))
    held_out = open_shards(data["validation"])
    before, after = load_sae(root), load_sae(other)
    assert validate(after, held_out).fvu < validate(_only(before, 2), held_out).fvu


def _only(sae, layer):
    """`sae` as if it served one layer alone."""
    index = sae.layers.index(layer)
    sae.layers, sae.layer_mean, sae.layer_scale = (
        (layer,),
        sae.layer_mean[index : index + 1],
        sae.layer_scale[index : index + 1],
    )
    return sae


def test_a_killed_child_ends_with_the_bits_of_an_undisturbed_one(data, tmp_path, monkeypatch):
    run(data, tmp_path / "root")
    undisturbed = child(data, tmp_path / "whole", tmp_path / "root")
    killed_after(4, monkeypatch, lambda: child(data, tmp_path / "killed", tmp_path / "root"))
    assert same(child(data, tmp_path / "killed", tmp_path / "root"), undisturbed)
    assert read_json(tmp_path / "killed" / "training.json")["resumed_at_step"] == 4
    assert read_json(tmp_path / "killed" / "cfg.json")["first_step"] == 50


def test_the_learning_rate_with_the_least_validation_fvu_is_chosen(data, tmp_path):
    chosen = run(data, tmp_path / "a", config=CONFIG | {"learning_rate": RATES})
    record = read_json(tmp_path / "a" / "training.json")
    fvu = record["validation_fvu"]
    assert list(fvu) == ["1e-07", "0.01", "0.003"]
    assert record["learning_rate"] == 0.01
    assert fvu["0.01"] == min(fvu.values()) < 0.9 * fvu["1e-07"]
    held_out = open_shards(data["validation"])
    assert validate(load_sae(tmp_path / "a"), held_out).fvu == pytest.approx(fvu["0.01"], rel=1e-6)
    assert read_json(tmp_path / "a" / "cfg.json")["learning_rate"] == 0.01
    assert record["tuning_seconds"] > 0
    assert record["tuning_flops"] == 2 * record["flops"]
    assert record["activations"] == 6400  # of the one that was kept
    # The same bits as where that rate was the only one.
    assert same(chosen, run(data, tmp_path / "b", config=CONFIG | {"learning_rate": 0.01}))
    assert histories(tmp_path / "a") == histories(tmp_path / "b")


def test_without_a_choice_there_is_no_limit_on_dead_latents(data, tmp_path):
    unlimited = {key: value for key, value in CONFIG.items() if key != "max_dead"}
    assert same(run(data, tmp_path / "a"), run(data, tmp_path / "b", config=unlimited))


def test_the_learning_rate_is_chosen_under_the_limit_on_dead_latents(data, tmp_path):
    config = CONFIG | {"d_sae": 256, "learning_rate": [0.03, 1e-7], "max_dead": 1.0}
    run(data, tmp_path / "any", config=config)
    free = read_json(tmp_path / "any" / "training.json")
    fvu, dead = free["validation_fvu"], free["validation_dead"]
    assert fvu["0.03"] < fvu["1e-07"]
    assert dead["0.03"] > dead["1e-07"]
    assert free["learning_rate"] == 0.03
    held_out, training = (open_shards(data[name]) for name in ("validation", "shards"))
    sae = load_sae(tmp_path / "any")
    assert validate(sae, held_out).dead_fraction == dead["0.03"]  # 1 is no limit: enough is known
    more = validate(sae, held_out, training).dead_fraction
    assert 0 < more < dead["0.03"]

    run(data, tmp_path / "few", config=config | {"max_dead": dead["1e-07"]})
    few = read_json(tmp_path / "few" / "training.json")
    assert few["learning_rate"] == 1e-7
    assert few["validation_fvu"] == fvu
    # All training activations were read for latents that are active after all.
    assert few["validation_dead"] == {"0.03": more, "1e-07": dead["1e-07"]}


def test_a_rate_whose_reconstructions_overflow_is_not_taken(data, tmp_path):
    """Of one step, the loss is from before: weights are huge and still numbers."""
    config = CONFIG | {"architecture": "relu", "training_tokens": 128, "sparsity": 1.0}
    config |= {"warmup_fraction": 0, "learning_rate": [1e25, 0.01]}
    run(data, tmp_path, config=config)
    record = read_json(tmp_path / "training.json")
    assert record["learning_rate"] == 0.01
    assert record["validation_fvu"]["1e+25"] is None
    assert record["validation_fvu"]["0.01"] > 0


@pytest.mark.parametrize("n_tokens", [1, 2])
def test_a_validation_split_that_does_not_vary_is_refused(data, tmp_path, n_tokens):
    layers = [torch.ones(n_tokens, 8) for _ in range(3)]
    same = made_shard(tmp_path / "same.safetensors", layers, split="validation")
    config = CONFIG | {"learning_rate": RATES}
    with pytest.raises(InputError, match=r"all the same.* Raise activations\.tokens\.validation"):
        run(data | {"validation": [same]}, tmp_path, config=config)


def test_other_seeds_take_the_choice_over(data, tmp_path):
    several = CONFIG | {"learning_rate": RATES}
    run(data, tmp_path / "first", config=several)
    tuned = tmp_path / "first" / "training.json"
    unseen = data | {"validation": []}
    second = run(unseen, tmp_path / "second", seed=2, config=several, tuned=tuned)
    record = read_json(tmp_path / "second" / "training.json")
    assert (record["learning_rate"], record["tuning_seconds"]) == (0.01, 0)
    assert record["validation_fvu"] == {}
    alone = CONFIG | {"learning_rate": 0.01}
    assert same(second, run(unseen, tmp_path / "alone", seed=2, config=alone))


def test_a_child_chooses_a_rate_of_its_own(data, tmp_path):
    config = CONFIG | {"learning_rate": [0.005, 1e-7]}
    run(data, tmp_path / "root", config=config)
    assert read_json(tmp_path / "root" / "training.json")["learning_rate"] == 0.005
    rates = [1e-6, 0.002]
    child(data, tmp_path / "child", tmp_path / "root", config=config, learning_rate=rates)
    record = read_json(tmp_path / "child" / "training.json")
    assert list(record["validation_fvu"]) == ["1e-06", "0.002"]
    # Without rates of its own it has those of the others.
    child(data, tmp_path / "other", tmp_path / "root", config=config)
    record = read_json(tmp_path / "other" / "training.json")
    assert list(record["validation_fvu"]) == ["0.005", "1e-07"]


@pytest.mark.parametrize("stop", [30, 50, 80])
def test_a_job_killed_while_tuning_repeats_no_finished_rate(data, tmp_path, monkeypatch, stop):
    several = CONFIG | {"learning_rate": [0.01, 1e-7]}
    undisturbed = run(data, tmp_path / "whole", config=several)
    killed_after(stop, monkeypatch, lambda: run(data, tmp_path / "killed", config=several))
    step, done = Trainer.step, []

    def count(trainer, batch):
        done.append(trainer.step_number)
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", count)
    assert same(run(data, tmp_path / "killed", config=several), undisturbed)
    assert len(done) == 2 * 50 - stop
    whole, resumed = (read_json(tmp_path / name / "training.json") for name in ("whole", "killed"))
    assert resumed["validation_fvu"] == whole["validation_fvu"]
    assert resumed["tuning_seconds"] > 0
    assert histories(tmp_path / "whole") == histories(tmp_path / "killed")


@pytest.mark.parametrize("rows", [100, 1])
def test_a_signal_that_meets_a_divergence_ends_a_job_of_several_rates(
    data, tmp_path, monkeypatch, rows
):
    """It is noticed by a look at the loss, or where the step is to be saved for the signal."""
    monkeypatch.setattr(training, "HISTORY_ROWS", rows)
    several = CONFIG | {"learning_rate": RATES}
    step, kills, started = Trainer.step, [], []

    def step_then_diverge(trainer, batch):
        step(trainer, batch)
        started.append(trainer.settings.learning_rate)
        if trainer.settings.learning_rate == RATES[1] and trainer.step_number == 7:
            trainer.sums.fill_(math.nan)
            for number in kills:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(Trainer, "step", step_then_diverge)
    undisturbed = run(data, tmp_path / "whole", config=several)
    record = read_json(tmp_path / "whole" / "training.json")
    assert list(record["validation_fvu"]) == ["1e-07", "0.003"]
    kills.append(signal.SIGTERM)
    started.clear()
    with pytest.raises(SystemExit) as stopped:
        run(data, tmp_path / "stopped", config=several)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert set(started) == set(RATES[:2])
    # A lone rate has nothing to go on with: what ends it is told.
    with pytest.raises(Diverged):
        run(data, tmp_path / "alone", config=CONFIG | {"learning_rate": RATES[1]})
    kills.clear()
    assert same(run(data, tmp_path / "stopped", config=several), undisturbed)
    again = read_json(tmp_path / "stopped" / "training.json")
    assert again["validation_fvu"] == record["validation_fvu"]
    assert again["tuning_flops"] == record["tuning_flops"]


def test_a_signal_after_the_last_step_ends_a_job_of_several_rates(data, tmp_path, monkeypatch):
    several = CONFIG | {"learning_rate": RATES}
    undisturbed = run(data, tmp_path / "whole", config=several)
    train = fitting.train

    def train_and_ask(*arguments):
        history = train(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return history

    monkeypatch.setattr(fitting, "train", train_and_ask)
    with pytest.raises(SystemExit) as stopped:
        run(data, tmp_path / "stopped", config=several)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert [each.name for each in (tmp_path / "stopped").iterdir()] == ["checkpoint-0.safetensors"]
    # A lone rate is done: it is written.
    run(data, tmp_path / "alone")
    monkeypatch.setattr(fitting, "train", train)
    assert same(run(data, tmp_path / "stopped", config=several), undisturbed)


def test_rates_without_anything_to_choose_by_are_an_error(data, tmp_path):
    config = {**CONFIG, "learning_rate": [0.001, 0.01]}
    with pytest.raises(InputError, match="2 learning rates to choose from, and no validation"):
        run(data | {"validation": []}, tmp_path, config=config)


def test_a_chain_of_transfers_says_where_it_came_from(data, tmp_path):
    own = CONFIG | {"specialise": {"learning_rate": 0.01}}
    run(data, tmp_path / "0", "0")
    chain = {"1~0": ("0", ["base", "0"]), "2~0-1": ("1~0", ["tokens-1of5~base", "1~0"])}
    for name, (start, ancestor) in chain.items():
        folder = tmp_path / name
        run(data, folder, name, "tokens-1of5~base", config=own, start=tmp_path / start)
        config, record = (read_json(folder / f"{file}.json") for file in ("cfg", "training"))
        assert config["starts_from"] == ancestor
        assert config["layers"] == [int(name[0])]
        assert (config["first_step"], config["n_steps"]) == (0, 10)
        assert (record["activations"], record["learning_rate"]) == (1280, 0.01)
    assert read_json(tmp_path / "0/cfg.json")["starts_from"] is None


def test_a_multi_layer_sae_of_one_layer_is_a_plain_one(data, tmp_path):
    plain = run(data, tmp_path / "plain", "1")
    assert same(run(data, tmp_path / "mlsae", "1", "mlsae-1of1"), plain)


def test_a_multi_layer_sae_is_trained_on_as_much_as_all_per_layer_ones(data, tmp_path):
    several = run(data, tmp_path / "mlsae", variant="mlsae-1of2")
    config, record = (read_json(tmp_path / f"mlsae/{file}.json") for file in ("cfg", "training"))
    assert record["activations"] == 3 * 3200
    assert record["tokens_reached"] == 3200
    assert config["every_layer"]
    assert not same(several, run(data, tmp_path / "other", variant="tokens-3of2"))
