"""A GPT-2 of the published kind, small enough to be trained in a moment, and its text."""

from pathlib import Path

import pytest
import torch
from killed import Killed
from torch import Tensor
from transformers import GPT2LMHeadModel

from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.settings import TrainingSettings
from clustersae.pretraining.training import train
from clustersae.runtime.checkpoint import Checkpoint

N_CTX, VOCAB_SIZE = 8, 11
SHAPE = Architecture(3, 32, 4, N_CTX, bias=False, initializer_range=0.02)
SETTINGS = {
    **{"steps": 12, "batch_rows": 4, "learning_rate": 0.01, "warmup_steps": 3},
    **{"min_learning_rate_fraction": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)},
    **{"grad_clip": 0.5, "evaluate_every": 5, "seed": 1337, "log_every": 2},
    **{"sampling": "offsets", "evaluate_batches": 6},
}
CPU = torch.device("cpu")


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**{**SETTINGS, **changes})


def network(dropout: float = 0.0, shape: Architecture = SHAPE) -> GPT2LMHeadModel:
    return build_model(shape, VOCAB_SIZE, None, None, seed=1337, dropout=dropout)


def text(n_rows: int = 30, seed: int = 0, dtype: torch.dtype = torch.int32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB_SIZE, (n_rows, N_CTX), generator=generator, dtype=dtype)


def interrupted(path: Path, stop: int, given: TrainingSettings, model: GPT2LMHeadModel) -> None:
    """Train until step `stop` is done, saving after every step, and die."""

    class Dying(Checkpoint):
        def __call__(self, trainer, history):
            self.save(trainer, history)
            if trainer.step_number == stop:
                raise Killed

    with pytest.raises(Killed):
        train(model, text(), text(9, 1), given, None, checkpoint=Dying(path, "same"))
