"""What the stream of every studied layer is like, and what was left out of it.

One row per layer. A share is of Σ‖x − μ‖² around the mean of the same tokens:

    largest_dimension_share   of the dimension with the largest variance, among kept tokens
    ten_tokens_share          of the ten kept tokens that lie farthest from the mean
    left_out_share            of everything that was left out, among all tokens that were read:
                              1 − Σ over kept tokens / Σ over all tokens, each around its own mean
    special_share, ...        the same where only tokens left out for that reason are added
    rounding_share            what rounding to the cache's dtype has changed
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.mask import NormLimits, Reason
from clustersae.activations.shards import Shard
from clustersae.activations.statistics import Statistics

#: Tokens whose share of the variance is reported.
LARGEST = 10


def stream_table(
    shards: Sequence[Shard], statistics: Statistics, limits: NormLimits
) -> list[dict[str, Any]]:
    """Rows of the table, for the split that the statistics are of.

    Reads every layer once more.
    """
    rounding = sum(shard.rounding() for shard in shards)
    assert isinstance(rounding, torch.Tensor)
    rows = []
    for index, layer in enumerate(shards[0].layers):
        mean = statistics.mean[index]
        kept = statistics.scale[index].square() * len(mean) * statistics.count
        variances = statistics.deviation[index].square()
        left = {reason: _left_out(shards, layer, reason, mean) for reason in Reason}
        rows.append(
            {
                "layer": layer,
                "n_tokens": statistics.count,
                **{f"n_{reason.name.lower()}": each.n_tokens for reason, each in left.items()},
                "median_norm": limits.median[index].item(),
                "max_norm": limits.limit[index].item(),
                "mean_norm": statistics.mean_norm[index].item(),
                "scale": statistics.scale[index].item(),
                "largest_dimension": int(variances.argmax()),
                "largest_dimension_share": (variances.max() / variances.sum()).item(),
                "ten_tokens_share": (_largest(layer_blocks(shards, layer), mean) / kept).item(),
                "left_out_share": _share(left.values(), kept, statistics.count),
                **{
                    f"{reason.name.lower()}_share": _share([each], kept, statistics.count)
                    for reason, each in left.items()
                },
                "rounding_share": (rounding[index] / kept).item(),
            }
        )
    return rows


class _Sums(NamedTuple):
    """Of left-out tokens x, with μ the mean of the kept ones, in float64."""

    n_tokens: int
    total: torch.Tensor  # Σ (x − μ), [d_model]
    squares: torch.Tensor  # Σ‖x − μ‖², a number


def _left_out(shards: Sequence[Shard], layer: int, reason: Reason, mean: torch.Tensor) -> _Sums:
    """Over what was left out for a reason, shard by shard: these may be millions of tokens."""
    count, total, squares = 0, torch.zeros_like(mean), mean.new_zeros(())
    for shard in shards:
        x = shard.left_out(layer)[shard.reasons() == reason].double() - mean
        count, total, squares = count + len(x), total + x.sum(0), squares + x.square().sum()
    return _Sums(count, total, squares)


def _share(left: Iterable[_Sums], kept: torch.Tensor, count: int) -> float:
    """Share of the variance of kept and left-out tokens together that the latter bring.

    Args:
        left: sums that are added up.
        kept: Σ‖x − μ‖² of the `count` kept tokens.
    """
    counts, totals, squares = zip(*left)
    between = torch.stack(totals).sum(0).square().sum() / (count + sum(counts))
    whole = kept + torch.stack(squares).sum() - between
    return (1 - kept / whole).item()


def _largest(blocks: Iterable[torch.Tensor], mean: torch.Tensor) -> torch.Tensor:
    """Σ‖x − mean‖² over the LARGEST tokens of that, a float64 number."""
    found = torch.zeros(0, dtype=torch.float64)
    for x in blocks:
        squares = (x.double() - mean).square().sum(1)
        found = torch.cat([found, squares]).topk(min(LARGEST, len(found) + len(squares))).values
    return found.sum()
