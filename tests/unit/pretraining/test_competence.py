import pytest
import torch

from clustersae.corpora.toy_lexicon import VOCABULARY
from clustersae.corpora.toy_tasks import Prompt, prompts
from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.competence import Score, require, score
from clustersae.runtime.errors import InputError

GOOD = {
    "indirect_object": Score(0.95, 0.9, 400),
    "agreement": Score(0.99, 0.1, 400),
    "greater_than": Score(0.2, 0.6, 400),
}


@pytest.fixture
def model():
    return build_model(Architecture(2, 16, 2, 20), len(VOCABULARY), bos_id=1, pad_id=0, seed=3)


def test_scores_are_those_of_each_prompt_alone(model):
    questions = [
        prompt for task in ("agreement", "greater_than") for prompt in prompts(task, 15, 0)
    ]
    correct, differences = 0, []
    for question in questions:
        ids = torch.tensor([[VOCABULARY.index(word) for word in ("<bos>", *question.words)]])
        probability = dict(zip(VOCABULARY, model.eval()(ids).logits[0, -1].softmax(-1).tolist()))
        answers = [probability[word] for word in question.answers]
        wrong = [probability[word] for word in question.wrong]
        correct += max(answers) > max(wrong)
        differences.append(sum(answers) - sum(wrong))
    scored = score(model, questions)
    assert scored.accuracy == correct / 30
    assert 0 < correct < 30
    assert scored.probability_difference == pytest.approx(sum(differences) / 30, abs=1e-6)
    assert scored.n_prompts == 30


def test_a_tie_is_no_success(model):
    tie = Prompt(("The", "dog"), answers=("sees",), wrong=("sees",))
    assert score(model, [tie]) == Score(0.0, 0.0, 1)


def test_a_model_that_knows_its_tasks_passes():
    require(GOOD)


@pytest.mark.parametrize(
    ("task", "bad"),
    [
        ("indirect_object", Score(0.949, 0.9, 400)),
        ("agreement", Score(0.5, 1.0, 400)),
        ("greater_than", Score(1.0, 0.59, 400)),
    ],
)
def test_a_model_that_lacks_one_task_is_refused_with_all_numbers(task, bad):
    with pytest.raises(
        InputError, match=r"agreement accuracy 0\.\d+ .*Set training\.steps"
    ) as caught:
        require({**GOOD, task: bad})
    for name in GOOD:
        assert name in str(caught.value)
