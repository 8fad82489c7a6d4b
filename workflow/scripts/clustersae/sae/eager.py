"""One optimiser step in PyTorch's own operations, for any device: the reference of step.c."""

from collections.abc import Iterable
from functools import partial

import torch
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
        self.auxk_alpha = settings.auxk_alpha if sae.revives else 0.0

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
        # Its counter lies on the CPU: to read it waits for no device.
        sparsity = self.settings.sparsity_at(int(self.optimizer.steps[0]))
        loss = self.sae.loss(fvu, partial(fvu_loss, batch), output, sparsity)
        if self.auxk_alpha and len(dead):
            loss = loss + self.auxk_alpha * auxk_loss(self.sae, batch, output, dead)
        self.sae.zero_grad()
        loss.backward()
        if self.sae.unit_rows:
            self._remove_parallel_gradient()
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.settings.max_grad_norm)
        self.optimizer.step(learning_rate)
        self.sae.after_step(output)
        with torch.no_grad():
            fired = output.firings(self.sae.d_sae)
            silent_for.add_(len(batch)).masked_fill_(fired > 0, 0)
        return fvu.detach(), fired.sum() / len(batch)

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
