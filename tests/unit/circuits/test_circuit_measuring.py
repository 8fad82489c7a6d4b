"""From a task's pairs to the rows of its tables: assessed, recorded, stored and measured."""

import numpy as np
import pytest
import torch
from tiny_circuits import random_linear_model, random_pairs, random_sae, signed_identity

from clustersae.circuits.assessment import assess
from clustersae.circuits.attribution import attributed_effects
from clustersae.circuits.curves import curve, log_weights
from clustersae.circuits.dictionaries import dictionaries_of, residual_basis
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.grouping import group_pairs, matching_lengths
from clustersae.circuits.measuring import CircuitSettings, measure_circuits, sweep_capped
from clustersae.circuits.recording import record, run_clean
from clustersae.circuits.storage import load_recordings, save_recordings
from clustersae.circuits.tasks.pairs import Loss, TokenPair
from clustersae.circuits.tasks.prepare import TaskPairs
from clustersae.circuits.tasks.prompts import TaskPrompt
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError

N_LAYERS, D_MODEL, VOCAB_SIZE, N_TOKENS = 2, 6, 11, 5
FINGERPRINT = "f" * 64
NO_TEXT = TaskPrompt("a", "b", "c", "d")


@pytest.fixture
def stream():
    return ResidualStream(random_linear_model(N_LAYERS, D_MODEL, VOCAB_SIZE), "blocks")


@pytest.fixture
def recordings(stream):
    return [
        record(stream, random_pairs(4, n_tokens, VOCAB_SIZE, seed=1, first=1))
        for n_tokens in (N_TOKENS, N_TOKENS + 2)
    ]


@pytest.fixture
def runs(stream):
    return [
        run_clean(stream, random_pairs(3, n_tokens, VOCAB_SIZE, seed=2, first=1))
        for n_tokens in (N_TOKENS, N_TOKENS + 2)
    ]


@pytest.fixture
def saes():
    return dictionaries_of([random_sae((0, 1), D_MODEL, 16, 3, seed=3)])


def token_pair(clean, patch, answer, wrong):
    return TokenPair(tuple(clean), tuple(patch), answer, wrong, NO_TEXT)


def task_of(train, test):
    lost = dict.fromkeys(Loss, 0)
    return TaskPairs("made-up", train, test, len(train) + len(test), len(train) + len(test), lost)


def test_pairs_are_grouped_by_length():
    pairs = [
        token_pair([0, 1, 2], [0, 3, 2], 4, 5),
        token_pair([0, 1], [0, 2], 6, 7),
        token_pair([0, 5, 6], [0, 7, 6], 8, 9),
        token_pair([0, 2], [0, 4], 6, 7),
    ]
    groups = group_pairs(pairs, first=1)
    assert list(groups) == [2, 3]
    assert groups[3].clean.tolist() == [[0, 1, 2], [0, 5, 6]]
    assert groups[3].corrupted.tolist() == [[0, 3, 2], [0, 7, 6]]
    assert (groups[3].answer.tolist(), groups[3].wrong.tolist()) == ([4, 8], [5, 9])
    assert groups[2].first == 1
    assert [groups[length].group.tolist() for length in (2, 3)] == [[1, 1], [0, 2]]
    assert groups[3].rows(1, 2).group.tolist() == [2]
    assert matching_lengths(groups, group_pairs(pairs[:1]), least=1) == [3]
    # The mean of too few training prompts stands in for nothing.
    assert matching_lengths(group_pairs(pairs[:1]), groups, least=2) == []
    assert matching_lengths(group_pairs(pairs[:1] * 4), groups) == [3]


def test_recordings_come_back_from_disk_to_the_bit(stream, recordings, runs, saes, tmp_path):
    save_recordings(tmp_path / "r.safetensors", recordings, runs, FINGERPRINT)
    loaded, loaded_runs = load_recordings(tmp_path / "r.safetensors", FINGERPRINT)
    fresh = ResidualStream(stream.model, "blocks")  # which has not run the model yet
    settings = CircuitSettings(sizes=4, exact_nodes=3)
    before = measure_circuits(stream, saes, recordings, runs, settings, control_seed=0)
    after = measure_circuits(fresh, saes, loaded, loaded_runs, settings, control_seed=0)
    assert after == before


def test_recordings_of_another_model_are_refused(recordings, runs, tmp_path):
    path = tmp_path / "r.safetensors"
    save_recordings(path, recordings, runs, FINGERPRINT)
    with pytest.raises(InputError, match="holds no recordings of this model"):
        load_recordings(path, "0" * 64)


def test_no_recordings_are_a_file_too(tmp_path):
    save_recordings(tmp_path / "r.safetensors", [], [], FINGERPRINT)
    assert load_recordings(tmp_path / "r.safetensors", FINGERPRINT) == ([], [])


def test_prompts_carry_the_areas(stream, recordings, runs, saes):
    settings = CircuitSettings(sizes=5, errors=["nodes"], ablations=["mean"], exact_nodes=0)
    measured = measure_circuits(stream, saes, recordings, runs, settings, control_seed=0)
    evaluation = Evaluation(stream, saes, recordings, runs, "mean")
    effects = torch.zeros(evaluation.nodes.n_nodes)
    for row in measured.nodes:
        latent = row["latent"]
        number = evaluation.nodes.errors[row["layer"]]
        if latent is not None:
            number = evaluation.nodes.slices[row["layer"]].start + latent
        effects[number] = row["effect"]
    rows = [row for row in measured.prompts if row["control"] == "none"]
    assert len(rows) == 6
    means = {key: np.mean([row[key] for row in rows]) for key in ("full", "empty", "circuit")}
    found = (means["circuit"] - means["empty"]) / (means["full"] - means["empty"])
    sizes = sorted({row["size"] for row in measured.curves})
    assert sizes[-1] == N_LAYERS * D_MODEL
    measured_at = [row["size"] for row in measured.curves if row["control"] == "none"]
    assert measured_at == sizes
    sweep = evaluation.sweep(attributed_effects(stream, saes, recordings), sizes, "nodes")
    area = log_weights(sweep.sizes) @ curve(sweep, "faithfulness")
    assert found == pytest.approx(area, abs=1e-6)
    gap = means["full"] - means["empty"]
    away = np.mean([row["distance"] for row in rows]) / gap
    expected = log_weights(sweep.sizes) @ np.abs(1 - curve(sweep, "faithfulness"))
    assert away == pytest.approx(expected, abs=1e-6)


def test_rows_name_the_groups_of_prompts(stream, recordings, runs, saes):
    pairs = runs[0].pairs
    mirrored = pairs._replace(
        clean=torch.cat([pairs.clean, pairs.corrupted[:1]]),
        corrupted=torch.cat([pairs.corrupted, pairs.clean[:1]]),
        answer=torch.cat([pairs.answer, pairs.wrong[:1]]),
        wrong=torch.cat([pairs.wrong, pairs.answer[:1]]),
        group=torch.tensor([3, 1, 2, 3]),
    )
    settings = CircuitSettings(sizes=2, errors=["nodes"], ablations=["mean"], exact_nodes=0)
    others = runs[1].pairs._replace(group=torch.tensor([4, 5, 1]))
    both = [run_clean(stream, mirrored), run_clean(stream, others)]
    measured = measure_circuits(stream, saes, recordings, both, settings, control_seed=0)
    rows = [row for row in measured.prompts if row["control"] == "none"]
    assert [row["prompt"] for row in rows] == list(range(7))
    assert [row["group"] for row in rows] == [0, 1, 2, 0, 3, 4, 1]


def test_what_blocks_return_is_learnt_before_anything_is_replaced(stream, recordings, runs, saes):
    """With `resample` first and nothing patched exactly, the first restarted pass is a sweep's."""
    settings = CircuitSettings(sizes=2, ablations=["resample"], exact_nodes=0)
    fresh = ResidualStream(stream.model, "blocks")
    found = measure_circuits(fresh, saes, recordings, runs, settings, control_seed=0)
    assert found == measure_circuits(stream, saes, recordings, runs, settings, control_seed=0)


def test_random_circuits_are_measured_once(stream, recordings, runs, saes):
    settings = CircuitSettings(sizes=3, exact_nodes=0)
    measured = measure_circuits(stream, saes, recordings, runs, settings, control_seed=0)
    controls = {
        (row["errors"], row["ablation"]) for row in measured.curves if row["control"] == "random"
    }
    assert controls == {("ablated", "mean")}
    combinations = {(row["errors"], row["ablation"]) for row in measured.curves}
    assert len(combinations) == 9


def test_a_size_beyond_all_nodes_stands_for_all_nodes(stream, recordings, runs):
    basis = residual_basis(range(N_LAYERS), D_MODEL)
    evaluation = Evaluation(stream, basis, recordings, runs, "mean")
    scores = torch.arange(evaluation.nodes.n_nodes).float()
    sweep = sweep_capped(evaluation, scores, [1, 5, 100, 1000], "nodes")
    assert sweep.sizes.tolist() == [1, 5, 100, 1000]
    np.testing.assert_allclose(sweep.circuit[2], sweep.full, atol=1e-5)
    np.testing.assert_array_equal(sweep.circuit[2], sweep.circuit[3])
    assert np.abs(sweep.circuit[1] - sweep.full).max() > 1e-2


def test_latents_that_lose_nothing_carry_all(stream, recordings, runs, saes):
    settings = CircuitSettings(sizes=2, errors=["nodes"], ablations=["mean"], exact_nodes=0)
    for dictionaries, deviation in (
        (dictionaries_of([signed_identity((0, 1), D_MODEL)]), 0),
        (saes, 0.01),
    ):
        rows = measure_circuits(stream, dictionaries, recordings, runs, settings, 0).prompts
        found = np.mean([abs(row["latents"] - row["full"]) for row in rows])
        assert found < 1e-5 if not deviation else found > deviation


def assessed(stream, train, test, **limits):
    limits = {"min_pairs": 2, "min_accuracy": 0.75, "min_gap": 0.5} | limits
    return assess(stream, task_of(train, test), D_MODEL, 1, "integrated", "mean", **limits)


def preferred(stream, n_pairs, seed):
    """Pairs whose answer is what the model says to the clean prompt and what it says least."""
    pairs = random_pairs(n_pairs, N_TOKENS, VOCAB_SIZE, seed=seed, first=1)
    logits = stream.logits(pairs.clean)[:, -1]
    answers, wrong = logits.argmax(1), logits.argmin(1)
    return [
        token_pair(c, p, a, w)
        for c, p, a, w in zip(
            pairs.clean.tolist(), pairs.corrupted.tolist(), answers.tolist(), wrong.tolist()
        )
    ]


def test_a_task_that_the_model_can_do(stream):
    found = assessed(stream, preferred(stream, 6, 1), preferred(stream, 4, 2))
    assert found.record["usable"], found.record["reason"]
    assert found.record["accuracy"] == 1
    assert (found.record["n_train"], found.record["n_test"]) == (6, 4)
    assert len(found.recordings) == len(found.runs) == 1
    gap = found.record["logit_difference"] - found.record["logit_difference_ablated"]
    assert abs(gap) >= 0.5


def test_a_task_that_the_model_cannot_do_is_not_recorded(stream):
    pairs = [
        TokenPair(pair.clean, pair.patch, pair.wrong, pair.answer, pair.text)
        for pair in preferred(stream, 6, 1)
    ]
    found = assessed(stream, pairs, pairs)
    assert not found.record["usable"]
    assert "the model cannot do this task" in found.record["reason"]
    assert (found.recordings, found.runs) == ([], [])


def test_a_task_that_does_not_rest_on_the_stream_is_said_to_be_so(stream):
    found = assessed(stream, preferred(stream, 6, 1), preferred(stream, 4, 2), min_gap=1e6)
    assert not found.record["usable"]
    assert "with everything ablated" in found.record["reason"]


def test_a_task_without_pairs_is_no_error(stream):
    found = assessed(stream, [], [])
    assert found.record["reason"].startswith("fewer than 2 pairs for training or for test (0 and")
    assert found.record["accuracy"] is None


def test_a_task_with_few_pairs_is_not_tried(stream):
    pairs = preferred(stream, 6, 1)
    found = assessed(stream, pairs, pairs[:4], min_pairs=5)
    assert "fewer than 5 pairs" in found.record["reason"]
    assert (found.record["n_train"], found.record["n_test"]) == (6, 4)


def test_test_prompts_of_a_length_without_training_prompts_are_left_out(stream):
    train = preferred(stream, 6, 1)
    other = token_pair([0, 1, 2], [0, 3, 2], 4, 5)
    found = assessed(stream, train, [*preferred(stream, 4, 2), other])
    assert found.record["n_test"] == 4
