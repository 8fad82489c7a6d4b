"""Training a small GPT-2 from scratch."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from clustersae.pretraining.batches import EVALUATION, Source, source
from clustersae.pretraining.compiling import choose_losses, compiles
from clustersae.pretraining.loss import Losses, mean_loss, mean_of_batches
from clustersae.pretraining.settings import TrainingSettings, learning_rate
from clustersae.runtime import graphs
from clustersae.runtime.checkpoint import Checkpoint
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress


class CurvePoint(NamedTuple):
    """The model after `step` steps; losses in nat per predicted token."""

    step: int
    train_loss: float  # mean over the steps since the last point, while training
    validation_loss: float
    learning_rate: float
    train_split_loss: float | None = None  # on random batches, as the validation loss


class Learning(NamedTuple):
    """What happened in a training."""

    curve: list[CurvePoint]
    logged: list[tuple[int, float]]  # step, and the loss of its batch, with dropout
    resumed_at: int  # step at which an interrupted training was taken up; 0 if it was not

    @property
    def best(self) -> CurvePoint:
        return min(self.curve, key=lambda point: point.validation_loss)


class Trainer:
    """A model, its optimiser and what was measured; `state` and `load_state` make it resumable.

    AdamW with decoupled weight decay (Loshchilov & Hutter 2019). A step on rows without padding
    waits for no device; where `training.compile` is asked for and can be had, the whole of it is
    one CUDA graph, and so is the loss of a random batch at an evaluation.
    """

    def __init__(
        self,
        model: GPT2LMHeadModel,
        train: Source,
        validation: Source,
        settings: TrainingSettings,
        pad_id: int | None,
    ) -> None:
        self.model, self.settings, self.pad_id = model, settings, pad_id
        self.sources = {"validation": validation, "train": train}
        self.device = next(model.parameters()).device
        self.autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16"
        )
        compiled = compiles(settings, pad_id, self.device)
        weights: list[Tensor] = [each for each in model.parameters() if each.requires_grad]
        self.optimizer = _optimizer(weights, settings, compiled)
        losses = partial(_losses, self.autocast, choose_losses(pad_id, compiled), model)
        learn = partial(_learn, losses, weights, self.optimizer, settings.grad_clip)
        loss = partial(_mean, losses)
        self.learn = graphs.Recorded(learn) if compiled else learn
        self.loss = graphs.Recorded(loss) if compiled else loss
        self.step_number = 0
        self.curve: list[CurvePoint] = []
        self.best: dict[str, Tensor] = {}
        self.total, self.since = torch.zeros((), device=self.device), 0
        n_logged = math.ceil(settings.steps / settings.log_every)
        self.logged = torch.zeros(n_logged, device=self.device)

    def step(self, batch: Tensor) -> None:
        """One optimiser step on tokens [n_rows, n_tokens]."""
        self._set_rate(learning_rate(self.step_number, self.settings))
        loss = self.learn(batch)
        self.total.add_(loss)
        self.since += 1
        self.step_number += 1
        if self._due(self.settings.log_every):
            self.logged[(self.step_number - 1) // self.settings.log_every] = loss
        if self._due(self.settings.evaluate_every):
            self._evaluate()

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a recorded step reads it there
            else:
                group["lr"] = rate

    def _due(self, every: int) -> bool:
        return self.step_number % every == 0 or self.step_number == self.settings.steps

    def _evaluate(self) -> None:
        """Add a point to the curve, and keep the model if it is the best so far."""
        settings, train_split = self.settings, None
        if settings.evaluate_batches:
            validation, train_split = (
                self._estimate(name, settings.evaluate_batches) for name in self.sources
            )
        else:
            rows = self.sources["validation"].tokens
            with self.autocast:
                validation = mean_loss(self.model, rows, self.pad_id, settings.batch_rows)
        _check_finite(validation, self.step_number, settings)
        if all(validation < earlier.validation_loss for earlier in self.curve):
            self.best = {
                name: weight.detach().clone() for name, weight in self.model.named_parameters()
            }
        train, rate = self.total.item() / self.since, learning_rate(self.step_number - 1, settings)
        self.curve.append(CurvePoint(self.step_number, train, validation, rate, train_split))
        self.total.zero_()
        self.since = 0

    def _estimate(self, name: str, n_batches: int) -> float:
        """Mean loss over random batches, others at every evaluation."""
        key = (self.settings.seed, EVALUATION, list(self.sources).index(name), self.step_number)
        batches = self.sources[name].sample(n_batches, self.settings.batch_rows, key)
        return mean_of_batches(self.model, batches, self.loss)

    def state(self) -> dict[str, Tensor]:
        """All that a later process needs to go on as if nothing had happened."""
        tensors: dict[str, Tensor] = {
            f"model.{name}": weight for name, weight in self.model.named_parameters()
        }
        tensors |= {f"best.{name}": weight for name, weight in self.best.items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        curve = [[math.nan if x is None else x for x in point] for point in self.curve]
        tensors["curve"] = torch.tensor(curve, dtype=torch.float64)
        tensors |= {"logged": self.logged, "total": self.total}
        tensors["steps"] = torch.tensor([self.step_number, self.since])
        tensors["random"] = torch.random.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        for name, weight in self.model.named_parameters():
            weight.copy_(tensors[f"model.{name}"])
        self.best = _below("best.", tensors, self.device)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _below("adam.", tensors).items():
            number, _, name = key.partition(".")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.curve = [_point(row) for row in tensors["curve"].tolist()]
        self.logged.copy_(tensors["logged"])
        self.total.copy_(tensors["total"])
        self.step_number, self.since = tensors["steps"].tolist()
        torch.random.set_rng_state(tensors["random"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


def train(
    model: GPT2LMHeadModel,
    train_tokens: Tensor,
    validation_tokens: Tensor,
    settings: TrainingSettings,
    pad_id: int | None,
    bos_id: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> Learning:
    """Train `model` in place, on the device it is on, and leave it as it was at its best.

    Best is the lowest validation loss, looked at every `evaluate_every` steps and at the end. On
    the CPU the same arguments and number of threads give the same bits, interrupted or not.

    Args:
        train_tokens: integers [n_rows, n_ctx], padded on the right with `pad_id`.
        validation_tokens: the same, held out.
        bos_id: what rows begin with; read where sequences are cut from the text at any offset.
        checkpoint: where to leave the state now and then, and to go on from.

    Raises:
        InputError: the loss is no longer a number.
    """
    device = next(model.parameters()).device
    train_source, validation_source = (
        source(tokens, settings.sampling, bos_id, pad_id, device)
        for tokens in (train_tokens, validation_tokens)
    )
    trainer = Trainer(model, train_source, validation_source, settings, pad_id)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # for dropout
        torch.manual_seed(settings.seed)
        if checkpoint:
            checkpoint.restore(trainer)
        resumed_at = trainer.step_number
        progress = Progress("Training", settings.steps, initial=resumed_at)
        batches = trainer.sources["train"].training(settings.batch_rows, settings.seed, resumed_at)
        model.train()
        while trainer.step_number < settings.steps:
            trainer.step(next(batches))
            if checkpoint:
                checkpoint(trainer, [])
            last = trainer.curve[-1:]
            progress.note("".join(f"validation loss {point.validation_loss:.4f}" for point in last))
            progress.update()
        if checkpoint:
            checkpoint.save(trainer, [])  # what comes after training may fail
    trainer.optimizer.zero_grad()
    progress.close()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(trainer.best[name])
    model.eval()
    every, losses = settings.log_every, trainer.logged.tolist()
    logged = [(min((i + 1) * every, settings.steps), loss) for i, loss in enumerate(losses)]
    return Learning(trainer.curve, logged, resumed_at)


# Functions of the last argument, a batch; none holds the trainer, so its memory is freed with it.


def _losses(
    autocast: torch.autocast, losses: Losses, model: GPT2LMHeadModel, batch: Tensor
) -> Tensor:
    with autocast:
        return losses(model, batch)


def _mean(losses: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Mean loss, float64 []."""
    return losses(batch).double().mean()


def _learn(
    losses: Callable[[Tensor], Tensor],
    weights: list[Tensor],
    optimizer: torch.optim.Optimizer,
    grad_clip: float,
    batch: Tensor,
) -> Tensor:
    """Change the weights; the mean loss [] before that."""
    loss = losses(batch).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, grad_clip)
    optimizer.step()
    return loss.detach()


def _point(row: list[float]) -> CurvePoint:
    step, train, validation, rate, train_split = row
    known = None if math.isnan(train_split) else train_split
    return CurvePoint(int(step), train, validation, rate, known)


def _below(
    prefix: str, tensors: dict[str, Tensor], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it, on `device`."""
    return {
        name.removeprefix(prefix): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _check_finite(validation: float, step: int, settings: TrainingSettings) -> None:
    if not math.isfinite(validation):
        raise InputError(
            f"The validation loss is {validation} at step {step}: lower training.learning_rate"
            f" (now {settings.learning_rate})."
        )


def _optimizer(
    weights: list[Tensor], settings: TrainingSettings, is_recorded: bool
) -> torch.optim.AdamW:
    matrices = [weight for weight in weights if weight.dim() >= 2]
    vectors = [weight for weight in weights if weight.dim() < 2]
    rate = settings.learning_rate
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=torch.tensor(rate, device=weights[0].device) if is_recorded else rate,
        betas=settings.betas,
        fused=True,
        capturable=is_recorded,
    )
