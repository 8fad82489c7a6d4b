"""Training of one SAE on a stream of normalised activations."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.adam import adam

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.sae.loss import auxk_loss, fvu_loss
from clustersae.sae.module import SparseAutoencoder, TrainingOutput

#: Steps between two looks at which latents are dead; each look waits for a GPU once.
DEAD_REFRESH_STEPS = 16


class Diverged(InputError):
    """The loss is no number any more."""


class Adam:
    """PyTorch's Adam without its Optimizer class, which takes 1.3 s to load in every short job.

    Kingma & Ba 2015, with their default β₁, β₂ and ε. Moments share the strides of their
    parameters, so the foreach kernels (unlike the fused one) handle a transposed encoder.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self.parameters = list(parameters)
        self.first = [torch.zeros_like(each) for each in self.parameters]
        self.second = [torch.zeros_like(each) for each in self.parameters]
        self.steps = [torch.zeros(()) for _ in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        adam(
            self.parameters,
            [_gradient(each) for each in self.parameters],
            self.first,
            self.second,
            [],
            self.steps,
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and step counts, by name; writing to them changes the state."""
        groups = {"first": self.first, "second": self.second, "steps": self.steps}
        return {
            f"{name}.{i}": value for name, each in groups.items() for i, value in enumerate(each)
        }

    @torch.no_grad()
    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, value in self.state().items():
            value.copy_(tensors[name])


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None, "every parameter takes part in every step"
    return parameter.grad


#: About this many rows in every history.csv; each waits for a GPU once.
HISTORY_ROWS = 100


class Trainer:
    """One SAE, its optimiser and its counters; `state` and `load_state` make it resumable.

    Nothing in a step waits for the device, but for the look at dead latents every
    DEAD_REFRESH_STEPS steps.
    """

    def __init__(self, sae: SparseAutoencoder, settings: SAESettings) -> None:
        self.sae, self.settings, self.step_number = sae, settings, 0
        self.optimizer = Adam(sae.parameters())
        device = sae.W_dec.device
        self.silent_for = torch.zeros(sae.d_sae, dtype=torch.int64, device=device)
        self.dead = torch.zeros(0, dtype=torch.int64, device=device)
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)  # FVU, active latents
        self.summed_steps = 0

    def step(self, batch: torch.Tensor) -> None:
        """One optimiser step on normalised activations [batch_size, d_model]."""
        if self.step_number % DEAD_REFRESH_STEPS == 0:
            self.dead = (self.silent_for >= self.settings.dead_after).nonzero().squeeze(1)
        output = self.sae.forward_training(batch)
        fvu = fvu_loss(batch, output.reconstruction)
        loss = fvu
        if self.settings.auxk_alpha and len(self.dead):
            auxk = auxk_loss(self.sae, batch, output, self.dead)
            loss = loss + self.settings.auxk_alpha * auxk
        self.sae.zero_grad()
        loss.backward()
        self._remove_parallel_gradient()
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.settings.max_grad_norm)
        self.optimizer.step(self.settings.learning_rate_at(self.step_number))
        self._normalise_decoder()
        self._count(fvu.detach(), output)
        self.step_number += 1

    @torch.no_grad()
    def _remove_parallel_gradient(self) -> None:
        """Drop what the renormalisation of the decoder rows would undo anyway.

        Otherwise it would enter Adam's moments and the clipped norm.
        """
        rows, grad = self.sae.W_dec, _gradient(self.sae.W_dec)
        grad.sub_((grad * rows).sum(1, keepdim=True) * rows)

    @torch.no_grad()
    def _normalise_decoder(self) -> None:
        self.sae.W_dec.copy_(F.normalize(self.sae.W_dec, dim=1))

    @torch.no_grad()
    def _count(self, fvu: torch.Tensor, output: TrainingOutput) -> None:
        active = output.values > 0
        fired = torch.zeros_like(self.silent_for)
        fired.index_add_(0, output.indices.reshape(-1), active.reshape(-1).to(fired.dtype))
        self.silent_for.add_(len(active)).masked_fill_(fired > 0, 0)
        self.sums[0] += fvu
        self.sums[1] += active.sum() / len(active)
        self.summed_steps += 1

    def metrics(self) -> dict[str, Any]:
        """Means over the steps since the last call; waits for the device."""
        fvu, l0 = (self.sums / max(self.summed_steps, 1)).tolist()
        self.sums.zero_()
        self.summed_steps = 0
        if not fvu - fvu == 0:
            raise Diverged(
                f"SAE training diverged: FVU is {fvu} at step {self.step_number}. Lower"
                " sae.learning_rate or sae.max_grad_norm, or raise sae.warmup_fraction."
            )
        dead = (self.silent_for >= self.settings.dead_after).double().mean().item()
        return {
            "step": self.step_number,
            "activations": self.step_number * self.settings.batch_size,
            "fvu": fvu,
            "l0": l0,
            "dead_fraction": dead,
            "learning_rate": self.settings.learning_rate_at(max(self.step_number - 1, 0)),
        }

    def state(self) -> dict[str, torch.Tensor]:
        """All that a later process needs to go on as if nothing had happened."""
        tensors = {f"sae.{name}": value for name, value in self.sae.state_dict().items()}
        tensors |= {f"adam.{name}": value for name, value in self.optimizer.state().items()}
        tensors |= {"silent_for": self.silent_for, "dead": self.dead, "sums": self.sums}
        tensors["steps"] = torch.tensor([self.step_number, self.summed_steps])
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, value in self.sae.state_dict().items():
            value.copy_(tensors[f"sae.{name}"])
        self.optimizer.load_state(
            {name.removeprefix("adam."): each for name, each in tensors.items()}
        )
        device = self.silent_for.device
        self.silent_for = tensors["silent_for"].to(device)
        self.dead = tensors["dead"].to(device)
        self.sums = tensors["sums"].to(device)
        self.step_number, self.summed_steps = tensors["steps"].tolist()


def train(
    trainer: Trainer,
    batches: Iterable[torch.Tensor],
    label: str = "SAE",
    after_step: Callable[[Trainer, list[dict[str, Any]]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train to the last step and return the rows of history.csv.

    Args:
        batches: normalised activations, one batch for every step that is left.
        after_step: called with the trainer and the history after every step (checkpoints).
    """
    history: list[dict[str, Any]] = []
    n_steps, batch_size = trainer.settings.n_steps, trainer.settings.batch_size
    log_every = max(1, n_steps // HISTORY_ROWS)
    logged_at, logged_time = trainer.step_number, time.monotonic()
    progress = Progress(label, n_steps, initial=logged_at)
    for batch in batches:
        trainer.step(batch)
        if trainer.step_number % log_every == 0 or trainer.step_number == n_steps:
            row = trainer.metrics()
            now = time.monotonic()
            n_seen = (trainer.step_number - logged_at) * batch_size
            rate = n_seen / max(now - logged_time, 1e-9)
            logged_at, logged_time = trainer.step_number, now
            history.append(row | {"activations_per_second": round(rate)})
            progress.note(f"FVU {row['fvu']:.4f}, {rate:,.0f} act/s")
        progress.update()
        if after_step is not None:
            after_step(trainer, history)
    progress.close()
    if trainer.step_number != n_steps:
        raise ValueError(f"Got batches for {trainer.step_number} of {n_steps} steps.")
    return history
