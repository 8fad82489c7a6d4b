"""Products with k-sparse latents that never build a [n_tokens, d_sae] matrix of zeros.

Latents are held as `indices` int64 [n, k] and `values` [n, k]. The gradient of a TopK SAE needs
five products with them; all are written here as gathers and CSR products, whose cost grows with
n·k·d_model instead of n·d_sae·d_model (the idea of Gao et al. 2024, "Scaling and evaluating
sparse autoencoders", appendix D). The dense equivalents stand in the tests.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F


class Transposition(NamedTuple):
    """Where each latent occurs: the CSR layout of the transposed latents, [d_sae, n].

    It depends on the indices alone, so one sort serves the gradients of encoder and decoder.
    """

    row_starts: torch.Tensor  # int64 [d_sae + 1]
    tokens: torch.Tensor  # int64 [n * k], the token of every entry, grouped by latent
    order: torch.Tensor  # int64 [n * k], the position of every entry in the flattened latents

    def product(self, values: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """latentsᵀ @ dense, [d_sae, d], for latents with `values` [n, k] and dense [n, d]."""
        matrix = torch.sparse_csr_tensor(
            self.row_starts,
            self.tokens,
            values.reshape(-1)[self.order],
            size=(len(self.row_starts) - 1, len(dense)),
            check_invariants=False,
        )
        return matrix @ dense


def transpose(indices: torch.Tensor, d_sae: int) -> Transposition:
    """Group the entries of `indices` [n, k] by latent, in a stable order."""
    # Not bincount: on a GPU it waits for the device to learn the size of its result.
    latents, order = torch.sort(indices.reshape(-1), stable=True)
    row_starts = torch.searchsorted(latents, torch.arange(d_sae + 1, device=latents.device))
    return Transposition(row_starts, order // indices.shape[1], order)


class _Encode(torch.autograd.Function):
    """The pre-activations of the k largest latents, with a gradient through those alone."""

    @staticmethod
    def forward(ctx, x, b_dec, W_enc, b_enc, k):
        centred = x - b_dec
        values, indices = torch.topk(torch.addmm(b_enc, centred, W_enc), k, dim=1, sorted=False)
        transposition = transpose(indices, W_enc.shape[1])
        ctx.save_for_backward(centred, W_enc, *transposition)
        ctx.mark_non_differentiable(indices, *transposition)
        return values, indices, *transposition

    @staticmethod
    def backward(ctx, grad_values, *_):
        centred, W_enc, *layout = ctx.saved_tensors
        transposition = Transposition(*layout)
        grad_W_enc = transposition.product(grad_values, centred).t()
        # As a product too: scattered additions come in any order on a GPU, and so do their bits.
        ones = torch.ones_like(centred[:, :1])
        grad_b_enc = transposition.product(grad_values, ones).squeeze(1)
        # Summing over tokens before the product with W_enc makes this a matrix-vector product.
        grad_b_dec = -(W_enc @ grad_b_enc)
        return None, grad_b_dec, grad_W_enc, grad_b_enc, None


def encode_topk(
    x: torch.Tensor, b_dec: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, Transposition]:
    """values [n, k] (after ReLU), indices [n, k] and their transposition, for x [n, d_model].

    Differentiable in the weights, not in `x`.
    """
    values, indices, *layout = _Encode.apply(x, b_dec, W_enc, b_enc, k)
    return torch.relu(values), indices, Transposition(*layout)


class Entries(NamedTuple):
    """Latents of a batch of n tokens, which may have different numbers of them."""

    values: torch.Tensor  # [n_entries], after ReLU
    indices: torch.Tensor  # int64 [n_entries], the latent of every entry
    tokens: torch.Tensor  # int64 [n_entries], its token, ascending
    starts: torch.Tensor  # int64 [n], the first entry of every token
    transposition: Transposition


class _EncodeBatch(_Encode):
    """The pre-activations of the n·k largest latents of n tokens; the gradient is `_Encode`'s."""

    @staticmethod
    def forward(ctx, x, b_dec, W_enc, b_enc, k):
        centred = x - b_dec
        n, d_sae = len(x), W_enc.shape[1]
        pre = torch.addmm(b_enc, centred, W_enc).view(-1)
        places = torch.topk(pre, n * k, sorted=False).indices.sort().values
        values, indices, tokens = pre[places], places % d_sae, places // d_sae
        latents, order = torch.sort(indices, stable=True)
        row_starts = torch.searchsorted(latents, torch.arange(d_sae + 1, device=x.device))
        transposition = Transposition(row_starts, tokens[order], order)
        ctx.save_for_backward(centred, W_enc, *transposition)
        ctx.mark_non_differentiable(indices, tokens, *transposition)
        return values, indices, tokens, *transposition


def encode_batch_topk(
    x: torch.Tensor, b_dec: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, k: int
) -> Entries:
    """The n·k largest latents of x [n, d_model]; differentiable in the weights, not in `x`."""
    values, indices, tokens, *layout = _EncodeBatch.apply(x, b_dec, W_enc, b_enc, k)
    starts = torch.searchsorted(tokens, torch.arange(len(x), device=x.device))
    return Entries(torch.relu(values), indices, tokens, starts, Transposition(*layout))


class _Decode(torch.autograd.Function):
    """latents @ W_dec."""

    @staticmethod
    def forward(ctx, values, indices, W_dec, *layout):
        ctx.save_for_backward(values, indices, W_dec, *layout)
        return F.embedding_bag(indices, W_dec, per_sample_weights=values, mode="sum")

    @staticmethod
    def backward(ctx, grad):
        values, indices, W_dec, *layout = ctx.saved_tensors
        grad_values = _products_with_rows(grad, W_dec, indices)
        grad_W_dec = Transposition(*layout).product(values, grad)
        return grad_values, None, grad_W_dec, None, None, None


def _products_with_rows(x: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """x[i] · rows[indices[i, j]] for every i, j: [n, k], without gathering [n, k, d_model]."""
    n, k = indices.shape
    flat = indices.reshape(-1)
    bags = torch.arange(n, device=x.device)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x, rows, flat, bags * k, bags.repeat_interleave(k), 0
    ).view(n, k)


def decode(
    values: torch.Tensor, indices: torch.Tensor, W_dec: torch.Tensor, transposition: Transposition
) -> torch.Tensor:
    """Σ_j values[:, j] · W_dec[indices[:, j]], [n, d_model]; differentiable in values and W_dec."""
    return _Decode.apply(values, indices, W_dec, *transposition)


class _DecodeEntries(torch.autograd.Function):
    """The same, for tokens of different numbers of latents."""

    @staticmethod
    def forward(ctx, values, W_dec, indices, tokens, starts, *layout):
        ctx.save_for_backward(values, W_dec, indices, tokens, starts, *layout)
        return F.embedding_bag(indices, W_dec, starts, per_sample_weights=values, mode="sum")

    @staticmethod
    def backward(ctx, grad):
        values, W_dec, indices, tokens, starts, *layout = ctx.saved_tensors
        grad_values = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            grad, W_dec, indices, starts, tokens, 0
        )
        grad_W_dec = Transposition(*layout).product(values, grad)
        return grad_values, grad_W_dec, None, None, None, None, None, None


def decode_entries(entries: Entries, values: torch.Tensor, W_dec: torch.Tensor) -> torch.Tensor:
    """Σ over each token's entries of values · rows of W_dec, [n, d_model].

    Args:
        values: [n_entries], which may be others than those of `entries`.
    """
    _, *layout, transposition = entries
    return _DecodeEntries.apply(values, W_dec, *layout, *transposition)
