"""Whether a model does a task: what is measured of pairs of every length, and of a real model."""

import pytest
import torch
from language_models import STORIES, needs_stories

from clustersae.circuits.assessment import assess
from clustersae.circuits.grouping import group_pairs
from clustersae.circuits.recording import run_clean
from clustersae.circuits.tasks.prepare import prepare
from clustersae.corpora.tokenizer import model_tokenizer, word_tokenizer
from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.models.loading import load_pretrained
from clustersae.models.residual import ResidualStream
from clustersae.pretraining.architecture import Architecture, build_model

WAYS = {"method": "attribution", "ablation": "mean"}
LEAST = {"min_pairs": 8, "min_accuracy": 0.75, "min_gap": 0.5}


@pytest.fixture(scope="module")
def stream():
    model = build_model(Architecture(2, 16, 2, 20), len(VOCABULARY), bos_id=1, pad_id=0, seed=3)
    return ResidualStream(model.eval(), "transformer.h")


def test_differences_are_those_of_each_prompt_alone(stream):
    tasks = [prepare(task, word_tokenizer(), 18, 20, 10) for task in ("toy_agreement", "induction")]
    pairs = sorted((pair for task in tasks for pair in task.train), key=lambda pair: pair.length)
    assert len({pair.length for pair in pairs}) > 3
    expected = []
    for pair in pairs:
        last = stream.model(torch.tensor([pair.clean])).logits[0, -1]
        expected.append(last[pair.answer] - last[pair.wrong])
    groups = group_pairs(pairs, first=1)
    found = torch.cat([run_clean(stream, group).metric for group in groups.values()])
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)


def test_an_untrained_model_cannot_do_a_task_and_is_not_recorded(stream):
    task = prepare("toy_agreement", word_tokenizer(), 18, 40, 40)
    found = assess(stream, task, 16, first=1, **WAYS, **LEAST)
    assert found.record["accuracy"] < 0.75
    assert found.record["reason"].startswith("the model cannot do this task: it prefers")
    assert (found.record["usable"], found.recordings, found.runs) == (False, [], [])


def test_too_few_pairs_are_not_tried(stream):
    task = prepare("toy_agreement", word_tokenizer(), 18, 6, 6)
    found = assess(stream, task, 16, first=1, **WAYS, **LEAST)
    assert found.record["accuracy"] is None
    assert found.record["reason"].startswith("fewer than 8 pairs for training or for test")


def test_special_tokens_of_prompts_are_masked_and_counted(stream):
    """A word that every prompt begins with, as a chat model's turns do, stands for one."""
    task = prepare("toy_agreement", word_tokenizer(), 18, 40, 40)
    word = task.train[0].clean[1]
    least = {"min_pairs": 1, "min_accuracy": 0, "min_gap": 0}
    plain = assess(stream, task, 16, first=1, **WAYS, **least)
    assert (plain.record["n_masked_train"], plain.record["n_masked_test"]) == (0, 0)
    found = assess(stream, task, 16, first=1, left_out=(word,), **WAYS, **least)
    for groups, key in ((found.recordings, "n_masked_train"), (found.runs, "n_masked_test")):
        where = [group.pairs.clean[:, 1:] == word for group in groups]
        assert found.record[key] >= sum(int(each.sum()) for each in where) > 0
        for group, each in zip(groups, where):
            masked = torch.zeros_like(each) if group.masked is None else group.masked[:, 1:]
            assert masked[each].all()


@needs_stories
def test_the_stories_model_knows_girls_from_boys_and_cannot_copy():
    stream = ResidualStream(load_pretrained(STORIES), "model.layers")
    loaded = model_tokenizer(STORIES)
    records = {
        task: assess(stream, prepare(task, loaded, 512, 50, 50), 64, 1, **WAYS, **LEAST).record
        for task in ("pronoun_gender", "indirect_object", "induction")
    }
    assert records["pronoun_gender"]["usable"]
    assert records["pronoun_gender"]["accuracy"] > 0.9
    assert records["pronoun_gender"]["logit_difference"] > 2.5
    for task in ("indirect_object", "induction"):
        assert "cannot do this task" in records[task]["reason"]
