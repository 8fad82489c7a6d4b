"""How a language model is trained."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """How the model is trained; the names of the config keys."""

    steps: int
    batch_rows: int
    learning_rate: float
    warmup_steps: int
    min_learning_rate_fraction: float  # of learning_rate, reached at the last step
    weight_decay: float  # on matrices only: neither biases nor layer norms
    betas: tuple[float, float]
    grad_clip: float  # largest norm of the gradient of all parameters together
    evaluate_every: int  # steps between evaluations on held-out text
    seed: int  # of the order of the text, and of initialisation and dropout
    dropout: float = 0.0  # on embeddings, attention weights and what each block adds
    dtype: str = "float32"  # or bfloat16: matrix products in bfloat16, parameters in float32
    sampling: str = "rows"  # or offsets: sequences from anywhere in the text
    evaluate_batches: int | None = None  # random batches per split; None: all validation rows
    log_every: int = 10  # steps between the training losses that are kept
    compile: bool = False  # blocks, on a GPU, and record steps as graphs


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """The rate of step `step` (from 0): linear warm-up, then a cosine to its lowest value."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - 1 - settings.warmup_steps)
    lowest = settings.min_learning_rate_fraction
    return settings.learning_rate * (lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done)))
