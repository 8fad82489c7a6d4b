"""One optimiser step in PyTorch's own operations, for any device: the reference of step.c."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch.optim.adam import adam

from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae.loss import auxk_loss, fvu_loss
from clustersae.sae.module import SparseAutoencoder


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


class EagerStep:
    """Forward pass, gradients by autograd, clipping, Adam, renormalisation; waits for no device."""

    name = "eager"

    def __init__(self, sae: SparseAutoencoder, settings: SAESettings) -> None:
        self.sae, self.settings = sae, settings
        self.optimizer = Adam(sae.parameters())

    def __call__(
        self,
        batch: torch.Tensor,
        dead: torch.Tensor,
        silent_for: torch.Tensor,
        learning_rate: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step on normalised activations [n, d_model].

        Args:
            dead: int64 [n_dead], latents that AuxK is to revive.
            silent_for: int64 [d_sae], tokens since each latent was active; brought up to date.

        Returns:
            the FVU, and active latents per token, both before the step.
        """
        output = self.sae.forward_training(batch)
        fvu = fvu_loss(batch, output.reconstruction)
        loss = fvu
        if self.settings.auxk_alpha and len(dead):
            auxk = auxk_loss(self.sae, batch, output, dead)
            loss = loss + self.settings.auxk_alpha * auxk
        self.sae.zero_grad()
        loss.backward()
        self._remove_parallel_gradient()
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.settings.max_grad_norm)
        self.optimizer.step(learning_rate)
        with torch.no_grad():
            self.sae.W_dec.copy_(F.normalize(self.sae.W_dec, dim=1))
            active = output.values > 0
            fired = torch.zeros_like(silent_for)
            fired.index_add_(0, output.indices.reshape(-1), active.reshape(-1).to(fired.dtype))
            silent_for.add_(len(active)).masked_fill_(fired > 0, 0)
        return fvu.detach(), active.sum() / len(active)

    @torch.no_grad()
    def _remove_parallel_gradient(self) -> None:
        """Drop what the renormalisation of the decoder rows would undo anyway.

        Otherwise it would enter Adam's moments and the clipped norm.
        """
        rows, grad = self.sae.W_dec, _gradient(self.sae.W_dec)
        grad.sub_((grad * rows).sum(1, keepdim=True) * rows)

    def state(self) -> dict[str, torch.Tensor]:
        return self.optimizer.state()

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        self.optimizer.load_state(tensors)
