"""One optimiser step on a CPU by step.c, around the encoder product that PyTorch does."""

import ctypes

import torch

from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae import native
from clustersae.sae.loss import auxk_gradients
from clustersae.sae.module import SparseAutoencoder

#: Tokens, or latents, of a block; sums are made block by block.
BLOCK = 32
#: Pre-activations of so many bytes are held at once.
PRE_BYTES = 128 << 20
#: Gradients are kept from clipping to update where latents are active on so many tokens each.
KEPT_FROM = 4
#: Weights of the encoder from which on a bfloat16 product and a second look are the faster way.
HALVES_FROM = 1 << 18


class CompiledStep:
    """The step of `EagerStep`, with the same arguments and, up to rounding, the same result.

    The latents are the k largest exactly; those that are not positive are told as latent 0 with
    value 0. Where the processor multiplies bfloat16, such a product tells which latents may be
    among the largest, and those are computed in single precision.

    Args:
        halves: whether to begin with a product of bfloat16; left out, where that is faster.
    """

    name = "compiled"

    def __init__(
        self,
        sae: SparseAutoencoder,
        settings: SAESettings,
        library: ctypes.CDLL,
        halves: bool | None = None,
    ) -> None:
        self.sae, self.settings, self.library, self.steps = sae, settings, library, 0
        m, d, blocks = sae.d_sae, sae.d_model, -(-sae.d_sae // BLOCK)
        weights = {
            "W_dec": sae.W_dec.detach(),
            "W_enc": sae.W_enc.detach().t(),
            "b_enc": sae.b_enc.detach(),
            "b_dec": sae.b_dec.detach(),
        }
        self.moments = {
            f"{moment}_{name}": torch.zeros_like(each)
            for name, each in weights.items()
            for moment in "mv"
        }
        self.updates = torch.zeros(m, dtype=torch.int64)  # steps in which each had a gradient
        self.place = torch.full((m,), -1, dtype=torch.int32)
        self.weights = weights
        self.starts = torch.empty(m + 1, dtype=torch.int64)
        scratch = {
            "starts": self.starts,
            "norms": torch.empty(blocks, dtype=torch.float64),
            "bias_sums": torch.empty(blocks, d),
            "grad_b_enc": torch.empty(m),
        }
        if halves is None:
            halves = native.multiplies_bfloat16() and m * d >= HALVES_FROM
        self.halves = halves
        if self.halves:
            self.half_W_enc = torch.empty(m, d, dtype=torch.bfloat16)
            scratch |= {
                "half_W_enc": self.half_W_enc,
                "norm_W_enc": torch.empty(m),
                "error_W_enc": torch.empty(m),
            }
        self.version = -1  # of W_enc when the copy was made
        self.fields = native.Step(d_model=d, d_sae=m, k=sae.k, block=BLOCK)
        self.held: dict[str, torch.Tensor] = {}
        counters = {"updates": self.updates, "place": self.place}
        self._hold(weights | self.moments | scratch | counters)

    def _hold(self, tensors: dict[str, torch.Tensor]) -> None:
        """Keep `tensors` alive, and tell the library where they lie."""
        self.held |= tensors
        for name, each in tensors.items():
            setattr(self.fields, name, native.address(each))

    def _prepare(self, n: int) -> None:
        """Buffers for batches of n tokens."""
        m, d, k = self.sae.d_sae, self.sae.d_model, self.sae.k
        blocks = -(-n // BLOCK)
        self.fields.rows = n
        self.centred, self.grad = torch.empty(n, d), torch.empty(n, d)
        self.indices, self.values = torch.empty(n, k, dtype=torch.int32), torch.empty(n, k)
        buffers = {
            "centred": self.centred,
            "grad": self.grad,
            "indices": self.indices,
            "values": self.values,
            "grad_values": torch.empty(n, k),
            "tokens": torch.empty(n * k, dtype=torch.int32),
            "by_latent": torch.empty(n * k),
            "grad_by_latent": torch.empty(n * k),
            "squares": torch.empty(blocks, dtype=torch.float64),
            "grad_sums": torch.empty(blocks, d),
        }
        if n * k >= KEPT_FROM * m:
            buffers["kept"] = torch.empty(m, 2, d)
        else:
            self.fields.kept = None
        if self.halves:
            self.half_centred = torch.empty(n, d, dtype=torch.bfloat16)
            buffers |= {
                "half_centred": self.half_centred,
                "norm_centred": torch.empty(n),
                "error_centred": torch.empty(n),
            }
        self._hold(buffers)
        chunks = -(-4 * n * m // PRE_BYTES)
        self.chunk = -(-n // chunks)
        self.pre = torch.empty(
            self.chunk, m, dtype=torch.bfloat16 if self.halves else torch.float32
        )

    @torch.no_grad()
    def __call__(
        self,
        batch: torch.Tensor,
        dead: torch.Tensor,
        silent_for: torch.Tensor,
        learning_rate: float,
    ) -> tuple[float, float]:
        batch = batch.contiguous()
        if len(batch) != self.fields.rows:
            self._prepare(len(batch))
        self.fields.threads = torch.get_num_threads()
        self.fields.silent_for = native.address(silent_for)
        step, x = ctypes.byref(self.fields), native.address(batch)
        self.library.centre(step, x)
        self._encode()
        fvu = self.library.reconstruct(step, x)
        revived = self._add_auxk(dead)
        self.steps += 1
        self.library.update(step, learning_rate, self.settings.max_grad_norm, self.steps)
        if revived:
            self.place[dead] = -1
        return fvu, int(self.starts[-1]) / len(batch)

    def _encode(self) -> None:
        step, k = ctypes.byref(self.fields), self.sae.k
        if self.halves and self.version != self.sae.W_enc._version:
            self.library.halve_W_enc(step)
            self.version = self.sae.W_enc._version
        for first in range(0, len(self.centred), self.chunk):
            n = min(self.chunk, len(self.centred) - first)
            pre, some = self.pre[:n], slice(first, first + n)
            if self.halves:
                torch.mm(self.half_centred[some], self.half_W_enc.t(), out=pre)
                self.library.topk_rescored(step, native.address(pre), first, n)
                continue
            torch.mm(self.centred[some], self.weights["W_enc"].t(), out=pre)
            chosen = [native.address(each[some]) for each in (self.indices, self.values)]
            where, size = native.address(pre), (n, self.sae.d_sae, k)
            self.library.topk(where, self.fields.b_enc, *size, *chosen, self.fields.threads)

    def _add_auxk(self, dead: torch.Tensor) -> bool:
        """Hand AuxK's gradients to the library; whether there are any."""
        if not (self.settings.auxk_alpha and len(dead)):
            return False
        residual = self.grad * (-self.grad.numel() / 2)
        alpha = self.settings.auxk_alpha
        gradients = auxk_gradients(self.sae, self.centred, residual, dead, alpha)
        taught = gradients[1] != 0  # the others were not among the k_aux of any token
        self.place[dead[taught]] = torch.arange(int(taught.sum()), dtype=torch.int32)
        names = ("aux_W_enc", "aux_b_enc", "aux_W_dec")
        self._hold({name: each[taught].contiguous() for name, each in zip(names, gradients)})
        return True

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, counters and number of steps, by name."""
        return {**self.moments, "updates": self.updates, "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, each in self.moments.items():
            each.copy_(tensors[name])
        self.updates.copy_(tensors["updates"])
        self.steps = int(tensors["steps"])
