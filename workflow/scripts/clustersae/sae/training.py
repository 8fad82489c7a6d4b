"""Training of one SAE on a stream of normalised activations."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import InputError
from clustersae.runtime.log import Progress
from clustersae.sae import native
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.compiled import CompiledStep
from clustersae.sae.eager import EagerStep
from clustersae.sae.memory import room_for_batch
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.triton_step import triton_step

#: Steps between two looks at which latents are dead; each look waits for a GPU once.
DEAD_REFRESH_STEPS = 16


class Diverged(InputError):
    """The loss is no number any more.

    Attributes:
        cost: `learning_rate`; `seconds` that the training took, as of `Meter`; `share` of its
            steps, done by then.
    """

    cost: Mapping[str, float] = {}


#: About this many rows in every history.csv; each waits for a GPU once.
HISTORY_ROWS = 100


class Step(Protocol):
    """What does one optimiser step: `EagerStep` says what its arguments are."""

    name: str

    def __call__(
        self,
        batch: torch.Tensor,
        dead: torch.Tensor,
        silent_for: torch.Tensor,
        learning_rate: float,
    ) -> tuple[torch.Tensor | float, torch.Tensor | float]: ...

    def state(self) -> dict[str, torch.Tensor]: ...

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None: ...


def choose_step(sae: SparseAutoencoder, settings: SAESettings) -> Step:
    """The compiled step where there is one for this architecture and device."""
    device = sae.W_dec.device.type
    if isinstance(sae, TopK) and device == "cpu":
        library = native.library()
        if library:
            return CompiledStep(sae, settings, library)
    if isinstance(sae, TopK) and device == "cuda":
        step = triton_step(sae, settings)
        if step:
            return step
    return EagerStep(sae, settings)


class Trainer:
    """One SAE, its optimiser and its counters; `state` and `load_state` make it resumable.

    Nothing in a step waits for the device, but for the look at dead latents every
    DEAD_REFRESH_STEPS steps.

    Attributes:
        n_devices: that train this SAE; writes: whether this trainer is the one that saves.
    """

    n_devices, writes = 1, True

    def __init__(
        self,
        sae: SparseAutoencoder,
        settings: SAESettings,
        choose: Callable[[SparseAutoencoder, SAESettings], Step] = choose_step,
    ) -> None:
        self.sae, self.settings, self.step_number = sae, settings, 0
        self.optimise = choose(sae, settings)
        device = sae.W_dec.device
        self.silent_for = torch.zeros(sae.d_sae, dtype=torch.int64, device=device)
        self.dead = torch.zeros(0, dtype=torch.int64, device=device)
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)  # FVU, active latents
        self.summed_steps = 0

    def step(self, batch: torch.Tensor) -> None:
        """One optimiser step on normalised activations [batch_size, d_model]."""
        if self.step_number % DEAD_REFRESH_STEPS == 0:
            self.look_for_dead()
        rate = self.settings.learning_rate_at(self.step_number)
        fvu, l0 = self.optimise(batch, self.dead, self.silent_for, rate)
        self.sums[0] += fvu
        self.sums[1] += l0
        self.summed_steps += 1
        self.step_number += 1

    def agree(self, due: bool, asked_by: int | None) -> tuple[bool, int | None]:
        """Whether to save now, and the signal to end by, from what this process alone knows."""
        return due, asked_by

    def whole(self) -> SparseAutoencoder:
        """The SAE as trained so far."""
        return self.sae

    def own_dead(self) -> torch.Tensor:
        """Which latents are dead, bool [d_sae]."""
        return self.silent_for >= self.settings.dead_after

    def look_for_dead(self) -> None:
        """Take those that are dead now for what AuxK revives; waits for the device."""
        self.dead = self.own_dead().nonzero().squeeze(1)

    def dead_fraction(self) -> float:
        return self.own_dead().double().mean().item()

    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(each.isfinite().all()) for each in self.sae.parameters())

    def metrics(self) -> dict[str, Any]:
        """Means over the steps since the last call; waits for the device."""
        fvu, l0 = (self.sums / max(self.summed_steps, 1)).tolist()
        self.sums.zero_()
        self.summed_steps = 0
        self._require_finite(fvu)
        return {
            "step": self.step_number,
            "activations": self.step_number * self.settings.step_activations,
            "fvu": fvu,
            "l0": l0,
            "dead_fraction": self.dead_fraction(),
            "learning_rate": self.settings.learning_rate_at(max(self.step_number - 1, 0)),
        }

    def _require_finite(self, fvu: float) -> None:
        """Raise Diverged where the loss, or a weight, is no number any more."""
        if self.is_finite() and fvu - fvu == 0:
            return
        rate = self.settings.learning_rate_at(max(self.step_number - 1, 0))
        raise Diverged(
            f"SAE training diverged: by step {self.step_number} the FVU or a weight is no number"
            f" (FVU {fvu:g}, learning rate {rate:g} there). Lower sae.learning_rate (of SAEs that"
            " start from another, sae.specialise.learning_rate) or sae.max_grad_norm, or raise"
            " sae.warmup_fraction. What checkpoints hold is older than that, and sound."
        )

    def state(self) -> dict[str, torch.Tensor]:
        """All that a later process needs to go on as if nothing had happened.

        Raises:
            Diverged: it is no state to go on from.
        """
        self._require_finite(self.sums[0].item())
        tensors = {f"sae.{name}": value for name, value in self.sae.state_dict().items()}
        tensors |= {f"adam.{name}": value for name, value in self.optimise.state().items()}
        tensors |= {"silent_for": self.silent_for, "dead": self.dead, "sums": self.sums}
        tensors["steps"] = torch.tensor([self.step_number, self.summed_steps])
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, value in self.sae.state_dict().items():
            value.copy_(tensors[f"sae.{name}"])
        own = {name: each for name, each in tensors.items() if name.startswith("adam.")}
        self.optimise.load_state({name.removeprefix("adam."): own[name] for name in own})
        device = self.silent_for.device
        self.silent_for.copy_(tensors["silent_for"])
        self.dead = tensors["dead"].to(device)
        self.sums.copy_(tensors["sums"])  # added to in place: not the tensor of the caller
        self.step_number, self.summed_steps = tensors["steps"].tolist()


def alone(sae: SparseAutoencoder, settings: SAESettings, where: torch.device) -> Trainer:
    """The trainer of an SAE that one device holds."""
    return Trainer(sae.to(where), settings)


def train(
    trainer: Trainer,
    batches: Iterable[torch.Tensor],
    label: str = "SAE",
    after_step: Callable[[Trainer, list[dict[str, Any]]], None] | None = None,
    until: int | None = None,
) -> list[dict[str, Any]]:
    """Train to the last step and return the rows of history.csv.

    Args:
        batches: normalised activations, one batch for every step that is left.
        after_step: called with the trainer and the history after every step (checkpoints).
        until: the step to stop at, if it is not the last.
    """
    history: list[dict[str, Any]] = []
    n_steps, per_step = trainer.settings.n_steps, trainer.settings.step_activations
    log_every = max(1, n_steps // HISTORY_ROWS)
    logged_at, logged_time = trainer.step_number, time.monotonic()
    progress = Progress(label, n_steps, initial=logged_at)
    for batch in batches:
        with room_for_batch(trainer.sae, len(batch)):
            trainer.step(batch)
        if trainer.step_number % log_every == 0 or trainer.step_number == n_steps:
            row = trainer.metrics()
            now = time.monotonic()
            n_seen = (trainer.step_number - logged_at) * per_step
            rate = n_seen / max(now - logged_time, 1e-9)
            logged_at, logged_time = trainer.step_number, now
            history.append(row | {"activations_per_second": round(rate)})
            progress.note(f"FVU {row['fvu']:.4f}, {rate:,.0f} act/s")
        progress.update()
        if after_step is not None:
            after_step(trainer, history)
    progress.close()
    wanted = n_steps if until is None else until
    if trainer.step_number != wanted:
        raise ValueError(f"Got batches for {trainer.step_number} of {wanted} steps.")
    return history
