"""Matryoshka BatchTopK: dictionaries within a dictionary (Bussmann et al. 2025)."""

from collections.abc import Callable, Sequence

import torch

from clustersae.experiment.architectures import held_bytes
from clustersae.sae import sparse
from clustersae.sae.architectures.batchtopk import BatchTopK
from clustersae.sae.module import TrainingOutput


class Matryoshka(BatchTopK):
    """BatchTopK whose first w latents must reconstruct by themselves, for every w of `prefixes`.

        loss = mean of FVU over all prefixes, the whole dictionary among them (section 3)

    The first latents then become the general ones, which later ones cannot absorb.

    Args:
        prefixes: numbers of latents, ascending, each less than d_sae.
    """

    name = "matryoshka"
    options = ("prefixes",)

    def __init__(
        self,
        layers: Sequence[int],
        d_sae: int,
        k: int,
        layer_mean: torch.Tensor,
        layer_scale: torch.Tensor,
        prefixes: Sequence[int],
    ) -> None:
        super().__init__(layers, d_sae, k, layer_mean, layer_scale)
        self.prefixes = tuple(prefixes)

    def forward_training(self, normalised: torch.Tensor) -> TrainingOutput:
        entries = sparse.encode_batch_topk(normalised, self.b_dec, self.W_enc, self.b_enc, self.k)
        whole, *inner = (
            sparse.decode_entries(entries, entries.values * (entries.indices < width), self.W_dec)
            + self.b_dec
            for width in (self.d_sae, *self.prefixes)
        )
        extra = torch.stack(inner) if inner else None
        return TrainingOutput(whole, entries.values, entries.indices, extra)

    def bytes_per_token(self) -> int:
        shape = self.d_model, self.d_sae, self.k
        return held_bytes(self.name, *shape, len(self.prefixes))

    def loss(
        self,
        fvu: torch.Tensor,
        fvu_of: Callable[[torch.Tensor], torch.Tensor],
        output: TrainingOutput,
        sparsity: float,
    ) -> torch.Tensor:
        for inner in output.extra if output.extra is not None else ():
            fvu = fvu + fvu_of(inner)
        return fvu / (1 + len(self.prefixes))
