"""One optimiser step in PyTorch's own operations, for any device: the reference of step.c."""

from collections.abc import Iterable
from functools import partial

import torch

from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae.loss import auxk_loss, fvu_loss
from clustersae.sae.module import SparseAutoencoder, TrainingOutput

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam in which every latent has a clock of its own.

    Kingma & Ba 2015, with their default β₁, β₂ and ε; but what a step leaves without a gradient, it
    leaves alone: neither moments nor weights of a latent change where it is active on no token and
    AuxK does not teach it. Plain Adam would go on moving it by what is left of its first moment,
    ten times as far in all as in the one step that had a gradient, and more where its second moment
    has faded. So latents that fire rarely are thrown about until they fire no more: on the demo's
    model half of them at the best learning rate. PyTorch's SparseAdam is lazy as well, but corrects
    the moments' bias by the number of all steps.

    Args:
        parameters: with the dimension along which latents lie; None for one that is of no latent.
    """

    def __init__(self, parameters: Iterable[tuple[torch.Tensor, int | None]]) -> None:
        self.parameters = list(parameters)
        self.first = [torch.zeros_like(each) for each, _ in self.parameters]
        self.second = [torch.zeros_like(each) for each, _ in self.parameters]
        # In double precision, as what is made of them by powers; of the shape that broadcasts.
        self.counts = [
            _along(each, dim).double() for each, (_, dim) in zip(self.first, self.parameters)
        ]
        self.steps = 0

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        self.move(learning_rate)

    @torch.no_grad()
    def move(self, learning_rate: float | torch.Tensor) -> None:
        """A step, without counting it; the rate may be a number on the device, float64 []."""
        parts = zip(self.parameters, self.first, self.second, self.counts)
        for (parameter, dim), first, second, count in parts:
            gradient = _gradient(parameter)
            moves = _along(gradient, dim) if dim is not None else torch.ones_like(count)
            count.add_(moves)
            # Small vectors where they can be: each pass over all weights takes time.
            rate, epsilon = (each.to(gradient.dtype) for each in rates(count, learning_rate))
            moves = moves.to(gradient.dtype)
            rate *= moves
            first.lerp_(gradient, (1 - BETA_1) * moves)
            second.mul_(1 - (1 - BETA_2) * moves).addcmul_(gradient, gradient, value=1 - BETA_2)
            size = second.sqrt().add_(epsilon)
            parameter.addcmul_(torch.div(first, size, out=size), rate)

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and step counts, by name."""
        groups = {"first": self.first, "second": self.second, "counts": self.counts}
        moments = {
            f"{name}.{i}": value for name, each in groups.items() for i, value in enumerate(each)
        }
        return moments | {"steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        self.steps = int(tensors["steps"])
        for name, value in self.state().items():
            value.copy_(tensors[name])


def rates(
    count: torch.Tensor, learning_rate: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """-η √(1 - β₂ᵗ) / (1 - β₁ᵗ) and ε √(1 - β₂ᵗ), float64: w changes by the first · m / (√v + ε').

    Args:
        count: t, float64, of every latent; what has had no step yet is taken for its first.
    """
    since = count.clamp(min=1)
    root = (1 - BETA_2**since).rsqrt()
    return -learning_rate / root / (1 - BETA_1**since), EPSILON / root


def _along(gradient: torch.Tensor, dim: int | None) -> torch.Tensor:
    """Whether anything is not zero, along `dim` or at all; the other dimensions are of size 1."""
    others = [each for each in range(gradient.dim()) if each != dim]
    if others:
        gradient = torch.linalg.vector_norm(gradient, ord=torch.inf, dim=others, keepdim=True)
    return gradient != 0


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None, "every parameter takes part in every step"
    return parameter.grad


class EagerStep:
    """Forward pass, gradients by autograd, clipping, Adam, renormalisation; waits for no device."""

    name = "eager"

    def __init__(self, sae: SparseAutoencoder, settings: SAESettings) -> None:
        self.sae, self.settings = sae, settings
        self.optimizer = Adam(
            (each, sae.latent_dimension(name)) for name, each in sae.named_parameters()
        )
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
        sparsity = self.settings.sparsity_at(self.optimizer.steps)
        loss = self.sae.loss(fvu, partial(fvu_loss, batch), output, sparsity)
        if self.auxk_alpha:
            loss = loss + self.auxk_alpha * self.auxk(batch, output, dead)
        self.sae.zero_grad()
        loss.backward()
        if self.sae.unit_rows:
            self._remove_parallel_gradient()
        self.clip()
        self.optimizer.step(learning_rate)
        self.sae.after_step(output)
        with torch.no_grad():
            fired = output.firings(self.sae.d_sae)
            silent_for.add_(len(batch)).masked_fill_(fired > 0, 0)
        return fvu.detach(), self.n_active(fired) / len(batch)

    def auxk(
        self, batch: torch.Tensor, output: TrainingOutput, dead: torch.Tensor
    ) -> torch.Tensor | float:
        return auxk_loss(self.sae, batch, output, dead) if len(dead) else 0.0

    def clip(self) -> None:
        """Limit the norm of all gradients together."""
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.settings.max_grad_norm)

    def n_active(self, fired: torch.Tensor) -> torch.Tensor:
        """From the number of tokens on which each latent is active, that of active latents."""
        return fired.sum()

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
