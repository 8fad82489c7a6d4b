"""One optimiser step of a TopK SAE on a GPU, by the kernels of triton_kernels.py.

The host waits for nothing and decides nothing by the numbers on the device, and all shapes are
those of the batch: the step is recorded as two CUDA graphs. Between them AuxK, whose number of dead
latents is another every time, is done by PyTorch's operations, one launch after the other.
"""

import logging
import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime import graphs
from clustersae.runtime.errors import first_line
from clustersae.sae import native
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import BETA_1, BETA_2, Adam, EagerStep, rates
from clustersae.sae.loss import auxk_gradients
from clustersae.sae.module import SparseAutoencoder

logger = logging.getLogger(__name__)

#: How far off a trial may be, as part of the way that weights have moved: single products may be in
#: TF32 with the one and not with the other, and Adam's first steps are as long for any gradient.
TRIAL_DISTANCE = 0.3


class RecordedPart:
    """A part of a step, on the same memory each time, recorded after WARM_CALLS real calls.

    It is given the step with every call and does not keep it: what points at itself would hold a
    GPU's memory until garbage is collected.
    """

    def __init__(self, function: Callable[["TritonStep"], Any]) -> None:
        self._function, self._n_calls = function, 0
        self._replay: Callable[[], Any] | None = None

    def __call__(self, step: "TritonStep") -> Any:
        if self._n_calls < graphs.WARM_CALLS:
            self._n_calls += 1
            return graphs.aside(lambda: self._function(step))
        if self._replay is None:
            self._replay = graphs.record(lambda: self._function(step))
        return self._replay()


class TritonStep:
    """The step of `EagerStep`, with the same arguments and, up to rounding, the same result.

    With `halves` the product of the encoder is one of bfloat16 copies of activations and weights,
    summed in float32 and rounded once more. It only tells which latents may be among the k largest:
    k and a quarter more are computed in float32 from the weights themselves, and of these the k
    largest are taken, with these values. So values and gradients are those of float32, and a latent
    can be missed only where bfloat16 puts as many others before it. Without `halves` the product is
    PyTorch's own in float32, and the latents are those of `EagerStep`. Weights, moments and
    gradients are float32 in any case.

    A latent has a gradient where its bias has one.

    Args:
        kernels: the module `triton_kernels`, which not every machine can import.
        recorded: whether to record CUDA graphs; left out, on CUDA.
    """

    name = "triton"

    def __init__(
        self,
        sae: SparseAutoencoder,
        settings: SAESettings,
        kernels: ModuleType,
        halves: bool = True,
        recorded: bool | None = None,
    ) -> None:
        self.sae, self.settings, self.kernels, self.halves = sae, settings, kernels, halves
        self.W_dec, self.W_enc = sae.W_dec.detach(), sae.W_enc.detach().t()
        self.b_dec, self.b_enc = sae.b_dec.detach(), sae.b_enc.detach()
        weights = {"W_dec": self.W_dec, "W_enc": self.W_enc}
        if not all(each.is_contiguous() for each in weights.values()):
            raise ValueError("W_dec and the transposed W_enc must be contiguous.")
        self.moments = {
            f"{moment}_{name}": torch.zeros_like(each)
            for name, each in weights.items()
            for moment in "mv"
        }
        self.biases = Adam([(sae.b_enc, 0), (sae.b_dec, None)])
        m, device = sae.d_sae, self.W_dec.device
        # A quarter more than k, and some more where k is small.
        self.n_candidates = min(m, sae.k + max(sae.k // 4, 8))
        self.no_bias = torch.zeros(m, device=device)
        self.bounds = torch.arange(m + 1, dtype=torch.int32, device=device)
        self.rate = torch.zeros((), dtype=torch.float64, device=device)
        self.batch = torch.empty(0, device=device)
        self.recorded = device.type == "cuda" if recorded is None else recorded

    @torch.no_grad()
    def __call__(
        self, batch: Tensor, dead: Tensor, silent_for: Tensor, learning_rate: float
    ) -> tuple[Tensor, Tensor]:
        if len(batch) != len(self.batch):
            self.batch = torch.empty_like(batch, memory_format=torch.contiguous_format)
            self._forward: Callable[[TritonStep], Any] = TritonStep._reconstruct
            self._update: Callable[[TritonStep], Any] = TritonStep._move
            if self.recorded:
                self._forward, self._update = (
                    RecordedPart(self._forward),
                    RecordedPart(self._update),
                )
        self.batch.copy_(batch)
        self.rate.fill_(learning_rate)
        fvu, l0 = self._forward(self)
        if self.settings.auxk_alpha and len(dead):
            self._add_auxk(dead)
        self._update(self)
        self.biases.steps += 1
        fired = self.starts[1:] > self.starts[:-1]
        silent_for.add_(len(batch)).masked_fill_(fired, 0)
        return fvu, l0

    def _reconstruct(self) -> tuple[Tensor, Tensor]:
        """FVU and active latents per token; leaves the gradients of all weights."""
        x, m = self.batch, self.sae.d_sae
        self.centred = x - self.b_dec
        indices, values = self._encode(self.centred)
        self.grad, grad_values, squares = self.kernels.reconstruct(
            x, self.W_dec, self.b_dec, indices, values
        )
        # Entries that are not active go to the end, beyond the last latent.
        latents = torch.where(values > 0, indices, m).to(torch.int32).view(-1)
        latents, order = torch.sort(latents, stable=True)
        self.starts = torch.searchsorted(latents, self.bounds)
        self.grad_W_dec, self.grad_W_enc, self.grad_b_enc = self.kernels.sum_entries(
            self.starts, order, values, grad_values, self.grad, self.centred
        )
        # It is added to the reconstruction, and subtracted from what is encoded.
        self.grad_b_dec = self.grad.sum(0) - self.W_enc.t() @ self.grad_b_enc
        return squares.sum(dtype=torch.float64) / x.numel(), self.starts[m] / len(x)

    def _encode(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """indices and values [n, k]."""
        largest, k = self.kernels.largest, self.sae.k
        if not self.halves:
            return largest(torch.addmm(self.b_enc, centred, self.W_enc.t()), self.no_bias, k, None)
        pre = centred.bfloat16() @ self.W_enc.bfloat16().t()
        candidates, _ = largest(pre, self.b_enc, self.n_candidates, None)
        exact = self.kernels.products(centred, self.W_enc, self.b_enc, candidates)
        return largest(exact, self.no_bias[: self.n_candidates], k, candidates)

    def _add_auxk(self, dead: Tensor) -> None:
        residual = self.grad * (-self.grad.numel() / 2)
        found = auxk_gradients(self.sae, self.centred, residual, dead, self.settings.auxk_alpha)
        gradients = self.grad_W_enc, self.grad_b_enc, self.grad_W_dec
        for gradient, more in zip(gradients, found):
            gradient.index_add_(0, dead, more)  # each once, so that their order is nothing

    def _move(self) -> None:
        """Clip the gradients, and move the weights by them."""
        gradients = self.grad_W_dec, self.grad_W_enc, self.grad_b_enc
        along, squares = self.kernels.measure(*gradients, self.W_dec)
        total = squares.sum(dtype=torch.float64) + self.grad_b_dec.double().square().sum()
        clip = (self.settings.max_grad_norm / (total.sqrt() + 1e-6)).clamp(max=1).float()
        self.sae.b_enc.grad = self.grad_b_enc * clip
        self.sae.b_dec.grad = self.grad_b_dec * clip
        self.biases.move(self.rate)
        by = [each.float() for each in rates(self.biases.counts[0], self.rate)]
        weights = [self.W_dec, self.W_enc, *self.moments.values()]
        self.kernels.update(*gradients, along, clip, *by, *weights, BETA_1, BETA_2)

    def state(self) -> dict[str, Tensor]:
        """The moments, counters and number of steps, by name."""
        return self.moments | self.biases.state()

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        for name, each in self.moments.items():
            each.copy_(tensors[name])
        self.biases.load_state(tensors)


def triton_step(sae: SparseAutoencoder, settings: SAESettings) -> TritonStep | None:
    """The step for an SAE on CUDA; None where Triton is missing or fails, which the log then says.

    Triton compiles on the machine itself, and may fail there in ways that are not known before: a
    small SAE of the same width is trained first, beside PyTorch's operations.
    """
    if os.environ.get(native.SWITCH, "1") == "0":
        return None
    kernels = _tried(sae.W_dec.device, sae.d_model, sae.k)
    return TritonStep(sae, settings, kernels) if kernels else None


@cache
def _tried(device: torch.device, d_model: int, k: int) -> ModuleType | None:
    try:
        from clustersae.sae import triton_kernels

        _try(triton_kernels, device, d_model, k)
    except Exception as error:  # of a compiler for another machine, which may fail in any way
        reason = f"{type(error).__name__}: {first_line(error)}"
        logger.info("SAEs are trained without Triton's kernels, more slowly: %s", reason)
        return None
    return triton_kernels


def _try(kernels: ModuleType, device: torch.device, d_model: int, k: int) -> None:
    """Train a small SAE by `kernels` and without, until the step has been recorded and replayed.

    Raises:
        RuntimeError: it learns other weights.
    """
    m, n, n_steps = 16 * -(-k // 8), 16, graphs.WARM_CALLS + 2
    settings = SAESettings(
        architecture="topk", d_sae=m, k=k, n_steps=n_steps, batch_size=n, learning_rate=1e-3,
        warmup_steps=0, decay_steps=0, auxk_alpha=1 / 32, dead_after=10**9, max_grad_norm=1.0,
        seed=0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    saes = [TopK((0,), m, k, torch.zeros(1, d_model), torch.ones(1)) for _ in range(3)]
    saes[0].initialise(generator)
    with torch.no_grad():
        # Tied to the decoder, the gradient of a lone latent is nothing but rounding.
        saes[0].W_enc.add_(torch.randn(d_model, m, generator=generator), alpha=0.1)
    start, found, expected = (sae.to(device) for sae in saes)
    for sae in (found, expected):
        sae.load_state_dict(start.state_dict())
    steps = TritonStep(found, settings, kernels), EagerStep(expected, settings)
    dead, silent_for = torch.arange(2, device=device), torch.zeros_like(start.b_enc).long()
    for _ in range(n_steps):
        batch = torch.randn(n, d_model, generator=generator).to(device)
        for step in steps:
            step(batch, dead, silent_for, settings.learning_rate)
    for name, weight in expected.named_parameters():
        away = (getattr(found, name) - weight).norm() / (weight - getattr(start, name)).norm()
        if not away.item() < TRIAL_DISTANCE:
            raise RuntimeError(f"{name} is {away:.2g} of its way off after {n_steps} steps")
