"""Can a model do the tasks it is going to be studied on?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from transformers import GPT2LMHeadModel

from clustersae.corpora.toy_lexicon import BOS, PAD, VOCABULARY
from clustersae.corpora.toy_tasks import Prompt, prompts
from clustersae.runtime.errors import InputError

TOKEN_ID = {word: index for index, word in enumerate(VOCABULARY)}

#: Task: the measure that counts and the least value of it that is good enough.
REQUIRED = {
    "indirect_object": ("accuracy", 0.95),
    "agreement": ("accuracy", 0.95),
    "greater_than": ("probability_difference", 0.6),
}
N_PROMPTS, PROMPT_SEED = 400, 0


class Score(NamedTuple):
    """Means over the prompts of one task."""

    accuracy: float  # the likeliest answer is likelier than every wrong answer
    probability_difference: float  # probability of all answers minus that of all wrong answers
    n_prompts: int


@torch.no_grad()
def score(model: GPT2LMHeadModel, questions: Sequence[Prompt]) -> Score:
    """Score the next-token distribution of a toy-English model at the end of each prompt."""
    device = next(model.parameters()).device
    rows = [[TOKEN_ID[word] for word in (BOS, *question.words)] for question in questions]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [TOKEN_ID[PAD]] * (longest - len(row)) for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows], device=device)
    embedded = model.transformer.wte(tokens.to(device))
    hidden = model.transformer(inputs_embeds=embedded).last_hidden_state
    logits = model.lm_head(hidden[torch.arange(len(rows), device=device), last])
    probability = logits.float().softmax(-1).cpu()
    correct, difference = 0, 0.0
    for question, row in zip(questions, probability):
        answers = row[[TOKEN_ID[word] for word in question.answers]]
        wrong = row[[TOKEN_ID[word] for word in question.wrong]]
        correct += bool(answers.max() > wrong.max())
        difference += float(answers.sum() - wrong.sum())
    return Score(correct / len(rows), difference / len(rows), len(rows))


def toy_english_scores(model: GPT2LMHeadModel) -> dict[str, Score]:
    """The score on held-out prompts of each task of toy English."""
    return {task: score(model, prompts(task, N_PROMPTS, PROMPT_SEED)) for task in REQUIRED}


def require(scores: Mapping[str, Score]) -> None:
    """Refuse a model that has not learnt its tasks: circuits found in it would mean nothing.

    Raises:
        InputError: a score is below what REQUIRED asks.
    """
    measured = {task: getattr(scores[task], measure) for task, (measure, _) in REQUIRED.items()}
    if all(measured[task] >= least for task, (_, least) in REQUIRED.items()):
        return
    numbers = "; ".join(
        f"{task} {measure} {measured[task]:.3f} (at least {least})"
        for task, (measure, least) in REQUIRED.items()
    )
    raise InputError(
        f"The trained model has not learnt its tasks: {numbers}. Set training.steps higher, or"
        " try another training.seed."
    )
