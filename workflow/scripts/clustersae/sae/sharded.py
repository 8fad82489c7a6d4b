"""One TopK SAE whose latents lie on several devices, where one device cannot hold the training.

Every process has some of the latents: their rows, biases, moments and clocks. All read the same
batches. They meet for which latents of a token are the largest, for the sum of what these decode,
and for the norm of the gradient. What is learnt is what one process learns, but for rounding.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import InputError
from clustersae.runtime.stopping import Stopped
from clustersae.runtime.together import Together, together_on
from clustersae.sae import sparse
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep
from clustersae.sae.fitting import Fit, fit
from clustersae.sae.loss import fvu_loss
from clustersae.sae.module import SparseAutoencoder, TrainingOutput
from clustersae.sae.training import DEAD_REFRESH_STEPS, Diverged, Trainer


class OwnLatents(TopK):
    """This rank's latents of a TopK SAE; `k` is that of all."""

    def __init__(self, whole: TopK, together: Together) -> None:
        n_own = len(together.own(whole.b_enc.detach(), 0))
        super().__init__(
            whole.layers, n_own, min(whole.k, n_own), whole.layer_mean, whole.layer_scale
        )
        self.k, self.together = whole.k, together
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                dim = self.latent_dimension(name)
                given = whole.get_parameter(name).detach()
                parameter.copy_(given if dim is None else together.own(given, dim))

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        own = min(self.k, self.d_sae)
        values, indices, transposition = sparse.encode_topk(
            normalised, self.together.alike(self.b_dec), self.W_enc, self.b_enc, own
        )
        values = values * among_largest(values, self.k, self.together)
        part = sparse.decode(values, indices, self.W_dec, transposition)
        return TrainingOutput(self.together.sum(part) + self.b_dec, values, indices)


def among_largest(own: torch.Tensor, k: int, together: Together) -> torch.Tensor:
    """Which of a rank's values [n, c] are among the k largest of a row over all ranks, as 0 and 1.

    Args:
        own: each rank's largest, c of them, or all that it has where these are fewer than k.
    """
    with torch.no_grad():
        n_own = own.shape[1]
        padded = F.pad(own, (0, k - n_own), value=-torch.inf)
        largest = together.beside(padded).topk(k, dim=1, sorted=False).indices
        marks = own.new_zeros(len(own), together.size * k).scatter_(1, largest, 1.0)
        return marks[:, together.rank * k :][:, :n_own]


class ShardedStep(EagerStep):
    """A step in which ranks meet; `n_dead` is the number of dead latents of all."""

    sae: OwnLatents
    n_dead = 0

    def __init__(self, sae: OwnLatents, settings: SAESettings) -> None:
        super().__init__(sae, settings)
        self.together = sae.together
        self.name = f"sharded over {self.together.size}"

    def auxk(
        self, batch: torch.Tensor, output: TrainingOutput, dead: torch.Tensor
    ) -> torch.Tensor | float:
        if not self.n_dead:
            return 0.0
        sae = self.sae
        residual = (batch - output.reconstruction).detach()
        pre = (batch - sae.b_dec.detach()) @ sae.W_enc[:, dead] + sae.b_enc[dead]
        k_aux = min(self.n_dead, max(1, sae.d_model // 2))
        values, chosen = pre.topk(min(k_aux, len(dead)), dim=1, sorted=False)
        values = values * among_largest(values, k_aux, self.together)
        latents = torch.zeros_like(pre).scatter(1, chosen, values)
        return fvu_loss(residual, self.together.sum(latents @ sae.W_dec[dead]))

    def clip(self) -> None:
        gradients = {name: each.grad for name, each in self.sae.named_parameters()}
        shared = gradients.pop("b_dec")
        assert shared is not None
        norm = torch.nn.utils.get_total_norm(
            [each for each in gradients.values() if each is not None]
        )
        norm = (self.together.sum(norm.square()) + shared.square().sum()).sqrt()
        torch.nn.utils.clip_grads_with_norm_(
            self.sae.parameters(), self.settings.max_grad_norm, norm
        )

    def n_active(self, fired: torch.Tensor) -> torch.Tensor:
        return self.together.sum(fired.sum())


class ShardedTrainer(Trainer):
    """A trainer of one rank; `state` is that of the whole SAE, and any number of ranks takes it."""

    sae: OwnLatents
    optimise: ShardedStep

    def __init__(
        self,
        whole: SparseAutoencoder,
        settings: SAESettings,
        where: torch.device,
        together: Together,
    ) -> None:
        assert type(whole) is TopK
        own = OwnLatents(whole, together).to(where)
        super().__init__(own, settings, lambda *_: ShardedStep(own, settings))
        self.together, self.given, self.latents = together, whole, whole.d_sae
        self.n_devices, self.writes = together.size, together.rank == 0

    def agree(self, due: bool, asked_by: int | None) -> tuple[bool, int | None]:
        if self.step_number % DEAD_REFRESH_STEPS:
            return False, None
        return self.together.agree(due, asked_by)

    def look_for_dead(self) -> None:
        super().look_for_dead()
        self.optimise.n_dead = self._of_all(len(self.dead))

    def dead_fraction(self) -> float:
        return self._of_all(int(self.own_dead().sum())) / self.latents

    def is_finite(self) -> bool:
        return not self._of_all(not super().is_finite())

    def _of_all(self, number: int) -> int:
        device = self.silent_for.device
        return int(self.together.sum(torch.tensor(number, dtype=torch.int64, device=device)))

    def _latent_dimensions(self) -> dict[str, int]:
        """Of the tensors of `state` that have latents."""
        dims = {"silent_for": 0, "dead": 0}
        for i, (name, _) in enumerate(self.sae.named_parameters()):
            dim = self.sae.latent_dimension(name)
            if dim is not None:
                dims[f"sae.{name}"] = dim
                dims |= {f"adam.{moment}.{i}": dim for moment in ("first", "second", "counts")}
        return dims

    def _gathered(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of all ranks, on the CPU; nothing on ranks but the first."""
        dims, whole = self._latent_dimensions(), {}
        for name, own in tensors.items():  # one at a time on a device
            dim = dims.get(name)
            each = own if dim is None else self.together.whole(own, dim, self.latents)
            if self.together.rank == 0:
                whole[name] = each.cpu()
        return whole

    def state(self) -> dict[str, torch.Tensor]:
        marks = torch.zeros_like(self.silent_for).index_fill(0, self.dead, 1)
        state = self._gathered(super().state() | {"dead": marks})
        if state:
            state["dead"] = state["dead"].nonzero().squeeze(1)
        return state

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        marks = torch.zeros(self.latents, dtype=torch.int64).index_fill(0, tensors["dead"], 1)
        dims = self._latent_dimensions()
        where = self.silent_for.device
        own = {
            name: self.together.own(each.to(where), dims[name]) if name in dims else each
            for name, each in (tensors | {"dead": marks}).items()
        }
        own["dead"] = own["dead"].nonzero().squeeze(1)
        super().load_state(own)
        self.optimise.n_dead = len(tensors["dead"])

    def whole(self) -> SparseAutoencoder:
        """On the CPU; on ranks but the first the one of the beginning."""
        own = {f"sae.{name}": each for name, each in self.sae.state_dict().items()}
        found = self._gathered(own)
        if found:
            self.given.load_state_dict({name.removeprefix("sae."): found[name] for name in found})
        return self.given


def fit_spread(devices: Sequence[torch.device], **arguments: Any) -> Fit:
    """`fit` with the latents spread over `devices`, one process for each.

    Raises:
        InputError: as `fit`; or the SAE cannot be spread.
    """
    _require_spreadable(arguments["settings"], len(devices))
    with together_on(devices, partial(_fit_beside, **arguments), (Diverged, Stopped)) as together:
        made = partial(ShardedTrainer, together=together)
        return fit(where=devices[0], trainer_for=made, **arguments)


def _require_spreadable(settings: SAESettings, n: int) -> None:
    if settings.architecture != TopK.name or settings.layers_at_once > 1:
        kind = "crosscoder" if settings.layers_at_once > 1 else settings.architecture
        raise InputError(
            f"An SAE of the architecture {kind} is trained on one device alone. Give its job one"
            " GPU (resource gpu), or use the architecture topk."
        )
    if math.ceil(settings.d_sae / n) * (n - 1) >= settings.d_sae:
        raise InputError(
            f"An SAE of {settings.d_sae} latents cannot be spread over {n} devices: some would have"
            " none. Give its job fewer GPUs."
        )


def _fit_beside(together: Together, **arguments: Any) -> None:
    """What ranks but the first do."""
    fit(trainer_for=partial(ShardedTrainer, together=together), **arguments)
