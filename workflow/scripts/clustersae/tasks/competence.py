"""Can a model do a task at all? Circuits for a task that it cannot do would mean nothing."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from clustersae.models.residual import ResidualStream
from clustersae.tasks.pairs import TokenPair, batches_by_length

REQUIRED_ACCURACY = 0.75


class Competence(NamedTuple):
    """Means over the pairs of a task; not a number where there are none."""

    accuracy: float  # share of prompts where the answer is likelier than the wrong one
    logit_difference: float  # logit(answer) - logit(wrong answer), in nats
    n_pairs: int

    @property
    def sufficient(self) -> bool:
        """Whether the model does the task well enough to be asked how."""
        return self.accuracy >= REQUIRED_ACCURACY

    def summary(self) -> str:
        if not self.n_pairs:
            return "cannot be tried: no pair is usable"
        verdict = "can do" if self.sufficient else "cannot do"
        return (
            f"the model {verdict} this: accuracy {self.accuracy:.3f} (at least"
            f" {REQUIRED_ACCURACY} is asked for), mean logit difference"
            f" {self.logit_difference:.2f} on {self.n_pairs} pairs"
        )


def logit_differences(
    stream: ResidualStream, pairs: Sequence[TokenPair], batch_size: int = 64
) -> torch.Tensor:
    """m = logit(answer) - logit(wrong answer) at the end of each clean prompt, float32 [n_pairs].

    The model is the one in `stream` as it is now, replacements included.
    """
    device = next(stream.model.parameters()).device
    differences = torch.empty(len(pairs), device=device)
    for batch in batches_by_length(pairs, batch_size, device):
        last = stream.logits(batch.clean)[:, -1].float()
        both = last.gather(1, torch.stack([batch.answer, batch.wrong], dim=1))
        differences[batch.index] = both[:, 0] - both[:, 1]
    return differences.cpu()


def measure_competence(
    stream: ResidualStream, pairs: Sequence[TokenPair], batch_size: int = 64
) -> Competence:
    """How well a model does a task; a tie is no success."""
    if not pairs:
        return Competence(math.nan, math.nan, 0)
    differences = logit_differences(stream, pairs, batch_size)
    return Competence(
        (differences > 0).float().mean().item(), differences.mean().item(), len(pairs)
    )
