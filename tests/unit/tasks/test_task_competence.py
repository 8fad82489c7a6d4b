import math

import pytest
import torch
from language_models import STORIES, needs_stories

from clustersae.corpora.tokenizer import model_tokenizer, word_tokenizer
from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.models.architecture import Architecture, build_model
from clustersae.models.residual import ResidualStream, load_pretrained
from clustersae.tasks.competence import Competence, logit_differences, measure_competence
from clustersae.tasks.pairs import TokenPair
from clustersae.tasks.prepare import prepare
from clustersae.tasks.prompts import TaskPrompt


@pytest.fixture(scope="module")
def stream():
    model = build_model(Architecture(2, 16, 2, 20), len(VOCABULARY), bos_id=1, pad_id=0, seed=3)
    return ResidualStream(model.eval(), "transformer.h")


def test_differences_are_those_of_each_prompt_alone_in_its_place(stream):
    tasks = [prepare(task, word_tokenizer(), 18, 20, 10) for task in ("toy_agreement", "induction")]
    pairs = [pair for task in tasks for pair in task.train]
    assert len({pair.length for pair in pairs}) > 3
    expected = []
    for pair in pairs:
        last = stream.model(torch.tensor([pair.clean])).logits[0, -1]
        expected.append(last[pair.answer] - last[pair.wrong])
    found = logit_differences(stream, pairs, batch_size=4)
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    measured = measure_competence(stream, pairs, batch_size=4)
    assert measured.accuracy == pytest.approx((found > 0).float().mean().item())
    assert measured.logit_difference == pytest.approx(found.mean().item())
    assert measured.n_pairs == len(pairs)


def test_what_is_spliced_into_the_model_counts(stream):
    pairs = prepare("toy_agreement", word_tokenizer(), 18, 10, 10).train
    with stream.replaced({1: torch.zeros_like}):
        ablated = logit_differences(stream, pairs)
    assert not torch.allclose(ablated, logit_differences(stream, pairs))


def test_a_tie_is_no_success(stream):
    text = TaskPrompt("The dog", "The dogs", " is", " is")
    tie = TokenPair((1, 5), (1, 6), 7, 7, text)
    assert measure_competence(stream, [tie]) == Competence(0.0, 0.0, 1)


def test_no_pairs_are_no_success():
    measured = measure_competence(None, [])
    assert math.isnan(measured.accuracy)
    assert not measured.sufficient
    assert measured.summary() == "cannot be tried: no pair is usable"


def test_three_quarters_are_enough():
    assert Competence(0.75, 0.1, 4).sufficient
    weak = Competence(0.749, 2.0, 1000)
    assert not weak.sufficient
    assert weak.summary() == (
        "the model cannot do this: accuracy 0.749 (at least 0.75 is asked for), mean logit"
        " difference 2.00 on 1000 pairs"
    )


@needs_stories
def test_the_stories_model_knows_girls_from_boys_and_cannot_copy():
    stream = ResidualStream(load_pretrained(STORIES), "model.layers")
    loaded = model_tokenizer(STORIES)
    measured = {
        task: measure_competence(stream, prepare(task, loaded, 512, 50, 50).test)
        for task in ("pronoun_gender", "indirect_object", "induction")
    }
    assert measured["pronoun_gender"].accuracy > 0.9
    assert measured["pronoun_gender"].logit_difference > 2.5
    assert not measured["indirect_object"].sufficient
    assert not measured["induction"].sufficient
