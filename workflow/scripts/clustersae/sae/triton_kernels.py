"""What a step of a TopK SAE needs of a GPU beyond PyTorch's operations, in Triton.

Every sum is one program's and runs in one order, without atomic additions, so that the same numbers
give the same bits. No kernel holds [n, k, d_model] numbers, and none waits for the host. The
functions are operations of PyTorch: they can be recorded as a CUDA graph, and run without a GPU
under Triton's interpreter (TRITON_INTERPRET=1), which is how they are tested.

Matrices are contiguous; n tokens, m latents, d = d_model. Can be imported only where Triton is.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from clustersae.sae.triton_topk import FUSED, largest

__all__ = ["largest", "measure", "products", "reconstruct", "sum_entries", "update"]

#: Entries and dimensions that `_sum_entries` takes at once.
ENTRIES, DIMENSIONS = 32, 128


@triton.jit
def _products(x, rows, bias, indices, out, k, d, D: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, D)
    inside = at < d
    own = tl.load(x + token * d + at, mask=inside, other=0)
    for j in range(k):
        latent = tl.load(indices + token * k + j).to(tl.int64)
        row = tl.load(rows + latent * d + at, mask=inside, other=0)
        product = tl.sum(own * row, 0) + tl.load(bias + latent)
        tl.store(out + token * k + j, product)


@torch.library.custom_op("clustersae::products", mutates_args=())
def products(x: Tensor, rows: Tensor, bias: Tensor, indices: Tensor) -> Tensor:
    """x[i] · rows[indices[i, j]] + bias[indices[i, j]] for every i, j: float32 [n, k].

    Args:
        x: [n, d]; rows: [m, d]; bias: [m]; indices: int32 [n, k].
    """
    (n, d), k = x.shape, indices.shape[1]
    out = torch.empty(n, k, device=x.device)
    _products[(n,)](x, rows, bias, indices, out, k, d, **_row(d))
    return out


@triton.jit
def _reconstruct(
    x, W_dec, b_dec, indices, values, grad, grad_values, squares, k, d, scale, D: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, D)
    inside = at < d
    off = tl.load(b_dec + at, mask=inside, other=0)
    for j in range(k):
        latent = tl.load(indices + token * k + j).to(tl.int64)
        value = tl.load(values + token * k + j)
        off += value * tl.load(W_dec + latent * d + at, mask=inside, other=0)
    off -= tl.load(x + token * d + at, mask=inside, other=0)
    tl.store(squares + token, tl.sum(off * off, 0))
    off *= scale
    tl.store(grad + token * d + at, off, mask=inside)
    for j in range(k):
        latent = tl.load(indices + token * k + j).to(tl.int64)
        row = tl.load(W_dec + latent * d + at, mask=inside, other=0)
        active = tl.load(values + token * k + j) > 0
        tl.store(grad_values + token * k + j, tl.where(active, tl.sum(off * row, 0), 0.0))


@torch.library.custom_op("clustersae::reconstruct", mutates_args=())
def reconstruct(
    x: Tensor, W_dec: Tensor, b_dec: Tensor, indices: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x̂ = Σ_j values[:, j] · W_dec[indices[:, j]] + b_dec beside x, and the gradients of the FVU.

    Args:
        x: [n, d]; W_dec: [m, d]; b_dec: [d]; indices: int32 [n, k]; values: [n, k].

    Returns:
        the gradient of x̂, 2 (x̂ - x) / (n d) [n, d]; that of the values [n, k], zero where they
        are not positive; ‖x̂ - x‖² of every token [n].
    """
    (n, d), k = x.shape, indices.shape[1]
    grad, grad_values = torch.empty_like(x), torch.empty_like(values)
    squares = torch.empty(n, device=x.device)
    made = grad, grad_values, squares
    _reconstruct[(n,)](x, W_dec, b_dec, indices, values, *made, k, d, 2 / (n * d), **_row(d))
    return made


@triton.jit
def _sum_entries(
    starts, order, values, grad_values, grad, centred, dec, enc, bias, k, d,
    E: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    latent = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * D + tl.arange(0, D)
    inside = at < d
    sum_dec, sum_enc = tl.full([D], 0, tl.float32), tl.full([D], 0, tl.float32)
    sum_bias = tl.full([E], 0, tl.float32)
    end = tl.load(starts + latent + 1)
    for start in range(tl.load(starts + latent), end, E):
        entries = start + tl.arange(0, E)
        here = entries < end
        places = tl.load(order + entries, mask=here, other=0)
        value = tl.load(values + places, mask=here, other=0)
        grad_value = tl.load(grad_values + places, mask=here, other=0)
        cells = (places // k)[:, None] * d + at[None, :]
        mask = here[:, None] & inside[None, :]
        sum_dec += tl.sum(value[:, None] * tl.load(grad + cells, mask=mask, other=0), 0)
        sum_enc += tl.sum(grad_value[:, None] * tl.load(centred + cells, mask=mask, other=0), 0)
        sum_bias += grad_value
    tl.store(dec + latent * d + at, sum_dec, mask=inside)
    tl.store(enc + latent * d + at, sum_enc, mask=inside)
    if tl.program_id(1) == 0:
        tl.store(bias + latent, tl.sum(sum_bias, 0))


@torch.library.custom_op("clustersae::sum_entries", mutates_args=())
def sum_entries(
    starts: Tensor, order: Tensor, values: Tensor, grad_values: Tensor, grad: Tensor,
    centred: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of decoder [m, d], encoder [m, d] and its bias [m], zero for silent latents.

    For every latent, over the tokens where it is active: Σ value · grad, Σ grad_value · centred
    and Σ grad_value.

    Args:
        starts: int64 [m + 1] and order: int64 [n k], as of `sparse.Transposition`; entries from
            starts[m] on are left out.
        values, grad_values: [n, k]; grad, centred: [n, d].
    """
    m, d, k = len(starts) - 1, grad.shape[1], values.shape[1]
    made = grad.new_empty(m, d), grad.new_empty(m, d), grad.new_empty(m)
    grid = (m, triton.cdiv(d, DIMENSIONS))
    given = starts, order, values, grad_values, grad, centred
    _sum_entries[grid](*given, *made, k, d, ENTRIES, DIMENSIONS, **FUSED)
    return made


@triton.jit
def _measure(dec, enc, bias, W_dec, along, squares, d, D: tl.constexpr):
    latent = tl.program_id(0).to(tl.int64)
    grad_bias = tl.load(bias + latent)
    if grad_bias == 0:
        tl.store(squares + latent, 0.0)
    else:
        at = tl.arange(0, D)
        inside = at < d
        row = tl.load(W_dec + latent * d + at, mask=inside, other=0)
        grad_row = tl.load(dec + latent * d + at, mask=inside, other=0)
        encoder = tl.load(enc + latent * d + at, mask=inside, other=0)
        part = tl.sum(grad_row * row, 0)
        grad_row -= part * row
        total = tl.sum(grad_row * grad_row, 0) + tl.sum(encoder * encoder, 0)
        tl.store(squares + latent, total + grad_bias * grad_bias)
        tl.store(along + latent, part)


@torch.library.custom_op("clustersae::measure", mutates_args=())
def measure(dec: Tensor, enc: Tensor, bias: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor]:
    """Each latent's decoder gradient along its row [m], and the rest of its gradients squared [m].

    Latents whose bias has no gradient have none: 0 for the second, and the first is not written.
    """
    m, d = W_dec.shape
    along, squares = torch.empty_like(bias), torch.empty_like(bias)
    _measure[(m,)](dec, enc, bias, W_dec, along, squares, d, **_row(d))
    return along, squares


@triton.jit
def _adam(weight, gradient, first, second, at, inside, rate, epsilon, ONE, TWO):
    """One step of Adam, as in eager.py; returns the weights."""
    moment = tl.load(first + at, mask=inside, other=0)
    moment += ONE * (gradient - moment)
    square = tl.load(second + at, mask=inside, other=0)
    square += TWO * (gradient * gradient - square)
    tl.store(first + at, moment, mask=inside)
    tl.store(second + at, square, mask=inside)
    size = tl.sqrt(square) + epsilon
    return tl.load(weight + at, mask=inside, other=0) + rate * (moment / size)


@triton.jit
def _update(
    dec, enc, bias, along, clip, rate, epsilon, W_dec, W_enc, m_dec, v_dec, m_enc, v_enc, d,
    ONE: tl.constexpr, TWO: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    latent = tl.program_id(0).to(tl.int64)
    if tl.load(bias + latent) != 0:
        inside = tl.arange(0, D) < d
        at = latent * d + tl.arange(0, D)
        scale, by, more = tl.load(clip), tl.load(rate + latent), tl.load(epsilon + latent)
        row = tl.load(W_dec + at, mask=inside, other=0)
        gradient = tl.load(dec + at, mask=inside, other=0) - tl.load(along + latent) * row
        row = _adam(W_dec, scale * gradient, m_dec, v_dec, at, inside, by, more, ONE, TWO)
        row /= tl.maximum(tl.sqrt(tl.sum(row * row, 0)), 1e-12)
        tl.store(W_dec + at, row, mask=inside)
        gradient = scale * tl.load(enc + at, mask=inside, other=0)
        encoder = _adam(W_enc, gradient, m_enc, v_enc, at, inside, by, more, ONE, TWO)
        tl.store(W_enc + at, encoder, mask=inside)


@torch.library.custom_op(
    "clustersae::update", mutates_args=("W_dec", "W_enc", "m_dec", "v_dec", "m_enc", "v_enc")
)
def update(
    dec: Tensor, enc: Tensor, bias: Tensor, along: Tensor, clip: Tensor, rate: Tensor,
    epsilon: Tensor, W_dec: Tensor, W_enc: Tensor, m_dec: Tensor, v_dec: Tensor, m_enc: Tensor,
    v_enc: Tensor, beta_1: float, beta_2: float,
) -> None:  # fmt: skip
    """Adam for the rows of decoder and encoder, whose decoder rows end with norm 1.

    Only rows of latents whose bias has a gradient are read or written.

    Args:
        dec, enc: gradients [m, d]; bias: [m]; along: [m], as of `measure`.
        clip: [], what all gradients are multiplied by.
        rate, epsilon: [m], as of `eager.rates`.
        W_dec, W_enc: [m, d], and their moments.
    """
    m, d = W_dec.shape
    weights = W_dec, W_enc, m_dec, v_dec, m_enc, v_enc
    given = dec, enc, bias, along, clip, rate, epsilon
    _update[(m,)](*given, *weights, d, 1 - beta_1, 1 - beta_2, **_row(d))


def _row(d: int) -> dict[str, Any]:
    """How a program holds a row of d numbers: 32 of them in each thread, if there are so many."""
    size = triton.next_power_of_2(d)
    return {"D": size, "num_warps": min(max(size // 1024, 1), 16), **FUSED}
