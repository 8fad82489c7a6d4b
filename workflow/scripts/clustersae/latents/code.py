"""What the latents of an SAE write, and where they fire."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from clustersae.sae.module import Latents, SparseAutoencoder


class Code(NamedTuple):
    """What the latents of an SAE write, and where they fire."""

    decoder: torch.Tensor  # [d_sae, d_model], rows of unit norm
    activations: sparse.csr_array  # [n_tokens, d_sae], float64; only positive entries are stored

    @property
    def live(self) -> np.ndarray:
        """Which latents fire at all, bool [d_sae]."""
        return counts(self.activations) > 0


@torch.no_grad()
def encode_tokens(sae: SparseAutoencoder, layer: int, blocks: Iterable[torch.Tensor]) -> Code:
    """The code of `sae` for activations of `layer`, given as blocks [n, d_model]."""
    device = sae.W_dec.device
    parts = [_sparse(sae.encode(x.to(device), layer), sae.d_sae) for x in blocks]
    decoder = F.normalize(sae.W_dec.detach(), dim=1)
    return Code(decoder, sparse.csr_array(sparse.vstack(parts, format="csr")))


def first_tokens(blocks: Iterable[torch.Tensor], n_tokens: int) -> Iterator[torch.Tensor]:
    """The first `n_tokens` rows of `blocks`, or all if there are fewer."""
    for x in blocks:
        yield x[:n_tokens]
        n_tokens -= len(x)
        if n_tokens <= 0:
            return


def counts(matrix: sparse.csr_array) -> np.ndarray:
    """Stored entries of every column."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1])


def _sparse(latents: Latents, d_sae: int) -> sparse.csr_array:
    """Latents [n, k] as a matrix [n, d_sae]; those of value 0 do not fire."""
    n, k = latents.values.shape
    values = latents.values.double().cpu().numpy().ravel()
    indices = latents.indices.to(torch.int32).cpu().numpy().ravel()
    matrix = sparse.csr_array((values, indices, np.arange(0, n * k + 1, k)), shape=(n, d_sae))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
