"""The k largest of every row on a GPU, in Triton. Can be imported only where Triton is."""

import torch
import triton
import triton.language as tl
from torch import Tensor

#: The smallest integer, before all keys; the largest, which what is no number has.
LEAST: tl.constexpr = tl.constexpr(-(2**31))
MOST: tl.constexpr = tl.constexpr(2**31 - 1)
#: a · b + c in one rounding; said, since versions of Triton have different defaults.
FUSED = {"enable_fp_fusion": True}


@triton.jit
def _keys(pre, bias, columns, m):
    """Integers in the order of pre + bias: both zeros are one, what is no number is the largest.

    Among floats below zero those of the larger bits are the smaller ones.
    """
    inside = columns < m
    x = tl.load(pre + columns, mask=inside, other=0).to(tl.float32)
    x += tl.load(bias + columns, mask=inside, other=0)
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    keys = tl.where(x == x, bits ^ ((bits >> 31) & MOST), MOST)
    return tl.where(inside, keys, LEAST)


@triton.jit
def _largest(pre, bias, names, indices, values, m, k, NAMED: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    pre += row * m
    lanes = tl.arange(0, BLOCK)
    best = tl.full([BLOCK], LEAST, tl.int32)
    for start in range(0, m, BLOCK):
        best = tl.maximum(best, _keys(pre, bias, start + lanes, m))
    # At least k keys reach the k-th largest of these maxima: only what is above is searched.
    low, high = tl.min(best, 0), tl.max(best, 0)
    middle = low
    while low < high:
        count = tl.sum((best >= middle).to(tl.int32), 0)
        low = tl.where(count >= k, middle, low)
        high = tl.where(count > k, high, tl.where(count == k, middle, middle - 1))
        middle = (low | high) - ((low ^ high) >> 1)  # the mean, rounded up, which fits in 32 bits
    high, middle = tl.max(best, 0), low
    while low < high:
        found = tl.full([BLOCK], 0, tl.int32)
        for start in range(0, m, BLOCK):
            found += (_keys(pre, bias, start + lanes, m) >= middle).to(tl.int32)
        count = tl.sum(found, 0)
        low = tl.where(count >= k, middle, low)
        high = tl.where(count > k, high, tl.where(count == k, middle, middle - 1))
        middle = (low | high) - ((low ^ high) >> 1)
    above = tl.full([BLOCK], 0, tl.int32)
    for start in range(0, m, BLOCK):
        above += (_keys(pre, bias, start + lanes, m) > low).to(tl.int32)
    room = k - tl.sum(above, 0)  # for the first of those that are equal to the k-th largest
    n_equal = room - room
    n_taken = n_equal
    for start in range(0, m, BLOCK):
        columns = start + lanes
        keys = _keys(pre, bias, columns, m)
        equal = (keys == low).to(tl.int32)
        taken = (keys > low) | ((keys == low) & (n_equal + tl.cumsum(equal, 0) <= room))
        place = row * k + n_taken + tl.cumsum(taken.to(tl.int32), 0) - 1
        value = (keys ^ ((keys >> 31) & MOST)).to(tl.float32, bitcast=True)
        tl.store(values + place, tl.where(value <= 0, 0.0, value), mask=taken)
        if NAMED:
            columns = tl.load(names + row * m + columns, mask=taken, other=0)
        tl.store(indices + place, columns, mask=taken)
        n_equal += tl.sum(equal, 0)
        n_taken += tl.sum(taken.to(tl.int32), 0)


@torch.library.custom_op("clustersae::largest", mutates_args=())
def largest(pre: Tensor, bias: Tensor, k: int, names: Tensor | None) -> tuple[Tensor, Tensor]:
    """The k largest of pre + bias in every row, without sorting; exact, ties to the lower column.

    A bisection over the integers that stand for floats, which ends as soon as exactly k are above.

    Args:
        pre: [n, m], in bfloat16 or float32; bias: float32 [m].
        names: int32 [n, m], what to call the columns.

    Returns:
        int32 [n, k], columns in ascending order, or their names; float32 [n, k], values after
        ReLU. What is no number counts as the largest, and stays what it is.
    """
    n, m = pre.shape
    indices = torch.empty(n, k, dtype=torch.int32, device=pre.device)
    values = torch.empty(n, k, device=pre.device)
    block = triton.next_power_of_2(max(1024, 8 * k))
    named = names is not None
    given = pre, bias, names if named else indices
    _largest[(n,)](*given, indices, values, m, k, named, block, **FUSED)
    return indices, values
