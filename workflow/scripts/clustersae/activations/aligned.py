"""Training batches of tokens at all layers of a cluster at once."""

from collections.abc import Iterator, Sequence

import torch

from clustersae.activations.batches import BatchPlan, planned_batches
from clustersae.activations.shards import Shard


def aligned_batches(
    shards: Sequence[Shard],
    layers: Sequence[int],
    layer_mean: torch.Tensor,
    layer_scale: torch.Tensor,
    batch_size: int,
    seed: int,
    steps: range,
    device: torch.device | str = "cpu",
) -> Iterator[torch.Tensor]:
    """Batches x̄ float32 [batch_size, n_layers · d_model]: a row is one token, layer after layer.

    The tokens are those of a per-layer SAE of the same seed, in the same order: which rows make up
    a batch depends on the seed and the step alone, so that the batches of single layers fit.

    Args: as of `normalised_batches`.
    """
    plan = BatchPlan([shard.n_rows for shard in shards], 1, batch_size, seed)
    streams = [
        planned_batches(
            shards,
            [layer],
            layer_mean[place : place + 1],
            layer_scale[place : place + 1],
            plan,
            steps,
            device,
        )
        for place, layer in enumerate(layers)
    ]
    for parts in zip(*streams, strict=True):
        yield torch.cat(parts, dim=1)
