"""Training a small GPT-2 from scratch on rows of tokens."""

import copy
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from clustersae.errors import InputError
from clustersae.log import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Architecture:
    """The shape of the model."""

    n_layers: int
    d_model: int
    n_heads: int
    n_ctx: int


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
    evaluate_every: int  # steps between evaluations on the validation rows
    seed: int  # of the order of the rows, and of initialisation and dropout
    dropout: float = 0.0  # on embeddings, attention weights and what each block adds
    dtype: str = "float32"  # or bfloat16: matrix products in bfloat16, parameters in float32


class CurvePoint(NamedTuple):
    """The model after `step` steps; losses in nat per predicted token."""

    step: int
    train_loss: float  # mean over the steps since the last point, while training
    validation_loss: float
    learning_rate: float


def build_model(
    architecture: Architecture,
    vocab_size: int,
    bos_id: int | None,
    pad_id: int | None,
    seed: int,
    dropout: float = 0.0,
) -> GPT2LMHeadModel:
    """A GPT-2 with tied embeddings, on the CPU, initialised from `seed`.

    Raises:
        InputError: d_model is not a multiple of n_heads.
    """
    if architecture.d_model % architecture.n_heads:
        raise InputError(
            f"d_model {architecture.d_model} is not a multiple of n_heads {architecture.n_heads}:"
            " choose another of the two."
        )
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=architecture.n_ctx,
        n_embd=architecture.d_model,
        n_layer=architecture.n_layers,
        n_head=architecture.n_heads,
        # GPT-2's 0.02 belongs to its d_model of 768; a narrow model with it hardly starts to learn.
        initializer_range=0.02 * math.sqrt(768 / architecture.d_model),
        activation_function="gelu",  # on a CPU several times cheaper than GPT-2's tanh formula
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=bos_id,
        eos_token_id=None,
        pad_token_id=pad_id,
        use_cache=False,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """The rate of step `step` (from 0): linear warm-up, then a cosine to its lowest value."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - 1 - settings.warmup_steps)
    lowest = settings.min_learning_rate_fraction
    return settings.learning_rate * (lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done)))


def batch_indices(n_rows: int, batch_rows: int, seed: int) -> Iterator[Tensor]:
    """Row indices [batch_rows] of one batch after another, in a new order every epoch.

    Every row is used once before any row is used again; a batch may span two epochs.
    """
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_rows:
            waiting = torch.cat([waiting, torch.randperm(n_rows, generator=generator)])
        yield waiting[:batch_rows]
        waiting = waiting[batch_rows:]


def next_token_losses(model: GPT2LMHeadModel, tokens: Tensor, pad_id: int | None) -> Tensor:
    """Cross-entropy in nat of every real next token of `tokens` [n_rows, n_ctx], flattened.

    Columns that are padding in all rows are cut off, and logits are computed only where there is
    a token to predict. The model needs no attention mask: rows are padded on the right, and no
    position looks to its right.
    """
    tokens = tokens.long()
    real = torch.ones_like(tokens, dtype=torch.bool) if pad_id is None else tokens != pad_id
    width = int(real.any(0).nonzero()[-1]) + 1
    tokens, predicted = tokens[:, :width], real[:, 1:width]
    embedded = model.transformer.wte(tokens[:, :-1])
    hidden = model.transformer(inputs_embeds=embedded).last_hidden_state
    return F.cross_entropy(
        model.lm_head(hidden[predicted]), tokens[:, 1:][predicted], reduction="none"
    )


@torch.no_grad()
def mean_loss(model: GPT2LMHeadModel, tokens: Tensor, pad_id: int | None, batch_rows: int) -> float:
    """Cross-entropy in nat per predicted token over all rows of `tokens` [n_rows, n_ctx]."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in tokens.split(batch_rows):
        losses = next_token_losses(model, batch.to(device), pad_id)
        total += losses.double().sum().item()
        count += losses.numel()
    model.train(was_training)
    return total / count


def train(
    model: GPT2LMHeadModel,
    train_tokens: Tensor,
    validation_tokens: Tensor,
    settings: TrainingSettings,
    pad_id: int | None,
) -> list[CurvePoint]:
    """Train `model` in place, on the device it is on, and leave it as it was at its best.

    Best is the lowest loss on `validation_tokens`, looked at every `evaluate_every` steps and at
    the end. AdamW with decoupled weight decay (Loshchilov & Hutter 2019). On the CPU the same
    arguments and number of threads give the same bits.

    Args:
        train_tokens: integers [n_rows, n_ctx], padded on the right with `pad_id`.
        validation_tokens: the same, held out.

    Returns:
        The learning curve, a point for every evaluation.

    Raises:
        InputError: the loss is no longer a number.
    """
    device = next(model.parameters()).device
    optimizer = _optimizer(model, settings)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16")
    indices = batch_indices(len(train_tokens), settings.batch_rows, settings.seed)
    progress = Progress("training", settings.steps)
    curve: list[CurvePoint] = []
    best: dict[str, Tensor] = {}
    total, since = torch.zeros((), device=device), 0
    with torch.random.fork_rng():  # for dropout
        torch.manual_seed(settings.seed)
        model.train()
        for step in range(settings.steps):
            rate = learning_rate(step, settings)
            batch = train_tokens[next(indices)].to(device)
            with autocast:
                loss = next_token_losses(model, batch, pad_id).mean()
            _descend(model, optimizer, loss, rate, settings.grad_clip)
            total, since = total + loss.detach(), since + 1
            done = step + 1
            if done % settings.evaluate_every == 0 or done == settings.steps:
                with autocast:
                    validation = mean_loss(model, validation_tokens, pad_id, settings.batch_rows)
                _check_finite(validation, done, settings)
                if all(validation < earlier.validation_loss for earlier in curve):
                    best = copy.deepcopy(model.state_dict())
                curve.append(CurvePoint(done, total.item() / since, validation, rate))
                total, since = torch.zeros_like(total), 0
            note = f"validation loss {curve[-1].validation_loss:.4f}" if curve else ""
            progress.update(done, note)
    progress.close()
    model.load_state_dict(best)
    model.eval()
    return curve


def _descend(
    model: GPT2LMHeadModel,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    rate: float,
    grad_clip: float,
) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def _check_finite(validation: float, step: int, settings: TrainingSettings) -> None:
    if not math.isfinite(validation):
        raise InputError(
            f"The validation loss is {validation} at step {step}: lower training.learning_rate"
            f" (now {settings.learning_rate})."
        )


def _optimizer(model: GPT2LMHeadModel, settings: TrainingSettings) -> torch.optim.AdamW:
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )
