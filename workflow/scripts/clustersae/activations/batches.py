"""Training batches for a cluster of layers, read sequentially from the shards.

Rows are shuffled inside each shard when it is written, so a batch is put together from blocks of
consecutive rows of all shards, in an order that is a pure function of (seed, pass). Nothing has
to be remembered to continue at a later step.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from clustersae.activations.shards import Shard
from clustersae.experiment.sae_settings import block_rows, check_batch, rows_in_blocks
from clustersae.runtime.device import upload


class Segment(NamedTuple):
    """Consecutive rows of one shard, read at one layer, and where they go in the batch."""

    shard: int
    start: int  # first row in the shard
    layer: int  # index into the cluster's layers
    position: int  # first row in the batch
    n_rows: int


class BatchPlan:
    """Which rows, at which layer, make up the batch of every step.

    One pass visits every block once; every batch has each layer of the cluster equally often
    (±1); each visited token contributes exactly one layer per pass. A pass leaves out the few rows
    of a shard that do not fill a block, and the blocks that do not fill a batch; which ones they
    are differs from pass to pass, so that no row is left out for good.

    With `n_tokens` all passes are over so many tokens, the first of the first pass: a cluster of n
    layers that passes over them n times reads each token n times, and every layer as many tokens;
    at which layers a token is read is chance.

    With `every_layer` each token contributes all layers at once: all of them read one stream of
    tokens, the blocks of one pass after those of the other, and in a batch (nearly) the same ones.

    Args:
        rows_per_shard: number of rows of every shard.
        n_layers: layers in the cluster.
        every_layer: read every token at every layer.
        n_tokens: read no other tokens than so many; None for all. A batch is always full.

    Raises:
        InputError: there is no batch to be read.
    """

    def __init__(
        self,
        rows_per_shard: Sequence[int],
        n_layers: int,
        batch_size: int,
        seed: int,
        every_layer: bool = False,
        n_tokens: int | None = None,
    ) -> None:
        self.n_layers, self.batch_size, self.seed = n_layers, batch_size, seed
        self.rows_per_shard = list(rows_per_shard)
        check_batch(self.rows_per_shard, batch_size)
        self.block_rows = block_rows(batch_size)
        n_blocks = rows_in_blocks(self.rows_per_shard, batch_size) // self.block_rows
        limit = n_blocks if n_tokens is None else -(-max(n_tokens, batch_size) // self.block_rows)
        self._is_limited = limit < n_blocks
        n_blocks = min(limit, n_blocks)
        self.steps_per_pass = n_blocks * self.block_rows // batch_size
        self.every_layer, self._n_blocks = every_layer, n_blocks
        self._pass = -1
        self._blocks = torch.empty(0, 2, dtype=torch.int64)

    def segments(self, step: int) -> Iterator[Segment]:
        """The pieces of the batch of `step`, in order of position."""
        if self.every_layer:
            yield from self._at_every_layer(step)
            return
        which, within = divmod(step, self.steps_per_pass)
        n_blocks = self.batch_size // self.block_rows
        chosen = self._blocks_of(which)[within * n_blocks : (within + 1) * n_blocks].tolist()
        # Contiguous stretches of the batch, one per layer; who comes first rotates with the step,
        # so that no layer always gets the longer stretch.
        cuts = [self.batch_size * i // self.n_layers for i in range(self.n_layers + 1)]
        for number, (shard, start) in enumerate(chosen):
            first = number * self.block_rows
            for i in range(self.n_layers):
                low, high = max(first, cuts[i]), min(first + self.block_rows, cuts[i + 1])
                if low < high:
                    layer = (i + step) % self.n_layers
                    yield Segment(shard, start + low - first, layer, low, high - low)

    def _at_every_layer(self, step: int) -> Iterator[Segment]:
        """As `segments`, of one stream of tokens that all layers read.

        Layer l reads on from place ⌊(step · batch_size + l) / n_layers⌋ of the stream. These add
        up to step · batch_size (Hermite's identity), so batches are full, and no layer is ever
        more than one token ahead of another.
        """
        places = [
            [(number * self.batch_size + layer) // self.n_layers for number in (step, step + 1)]
            for layer in range(self.n_layers)
        ]
        position = 0
        for layer, (place, stop) in enumerate(places):
            while place < stop:
                block, offset = divmod(place, self.block_rows)
                which, within = divmod(block, self._n_blocks)
                shard, start = self._blocks_of(which)[within].tolist()
                n_rows = min(self.block_rows - offset, stop - place)
                yield Segment(shard, start + offset, layer, position, n_rows)
                position, place = position + n_rows, place + n_rows

    def _blocks_of(self, which: int) -> torch.Tensor:
        """Shard and first row of the blocks of a pass, in the order in which they are read.

        int64 [n_blocks, 2], which may be a million blocks.
        """
        if which != self._pass:
            self._pass, self._blocks = which, self._of_pass(which)
        return self._blocks

    def _of_pass(self, which: int) -> torch.Tensor:
        if not self._is_limited:
            return self._shuffled(which)
        first = self._shuffled(0)[: self._n_blocks]
        generator = torch.Generator().manual_seed(_mix(self.seed, which))
        return _permuted(first, generator) if which else first

    def _shuffled(self, which: int) -> torch.Tensor:
        """The blocks of a pass over all shards."""
        generator = torch.Generator().manual_seed(_mix(self.seed, which))
        blocks = []
        for shard, n_rows in enumerate(self.rows_per_shard):
            spare = n_rows % self.block_rows
            offset = int(torch.randint(spare + 1, (), generator=generator))
            starts = offset + self.block_rows * torch.arange(n_rows // self.block_rows)
            blocks.append(torch.stack([torch.full_like(starts, shard), starts], 1))
        return _permuted(torch.cat(blocks), generator)


def _permuted(blocks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return blocks[torch.randperm(len(blocks), generator=generator)]


def _mix(seed: int, which: int) -> int:
    """Different for every pair of small integers; as many bits as a generator takes."""
    return (seed * 1_000_003 + which) % 2**64


def seed_of_window(seed: int, window: int) -> int:
    """The seed of the order of a window's rows, see `experiment.windows`."""
    return _mix(seed, window + 1)


def normalised_batches(
    shards: Sequence[Shard],
    layers: Sequence[int],
    layer_mean: torch.Tensor,
    layer_scale: torch.Tensor,
    batch_size: int,
    seed: int,
    steps: range,
    device: torch.device | str = "cpu",
    every_layer: bool = False,
    n_tokens: int | None = None,
) -> Iterator[torch.Tensor]:
    """The batch x̄ float32 [batch_size, d_model] of every step in `steps`.

    Shards that are held on a GPU are read there, and give the same bits.

    Args:
        layers: the layers of the cluster.
        layer_mean: μ [n_cluster_layers, d_model]; layer_scale: σ [n_cluster_layers],
            or [n_cluster_layers, d_model].
        every_layer: read every token at every layer, not at one of them (see `BatchPlan`).
        n_tokens: read no other tokens than so many.
    """
    rows = [shard.n_rows for shard in shards]
    plan = BatchPlan(rows, len(layers), batch_size, seed, every_layer, n_tokens)
    yield from planned_batches(shards, layers, layer_mean, layer_scale, plan, steps, device)


def planned_batches(
    shards: Sequence[Shard],
    layers: Sequence[int],
    layer_mean: torch.Tensor,
    layer_scale: torch.Tensor,
    plan: BatchPlan,
    steps: range,
    device: torch.device | str = "cpu",
) -> Iterator[torch.Tensor]:
    """The same of a plan that others may follow, too."""
    mean, inverse = layer_mean.float(), 1 / layer_scale.float()
    if shards[0].device.type != "cpu":
        yield from _gathered(shards, layers, mean, inverse, plan, steps)
        return
    pinned = torch.device(device).type == "cuda"  # else the copy to the GPU would not overlap
    for step in steps:
        batch = torch.empty(plan.batch_size, mean.shape[1], pin_memory=pinned)
        for shard, start, layer, position, n_rows in plan.segments(step):
            piece = batch[position : position + n_rows]
            piece.copy_(shards[shard].layer(layers[layer], start, start + n_rows))
            piece.sub_(mean[layer]).mul_(inverse[layer])
        yield batch.to(device, non_blocking=True)


def _gathered(
    shards: Sequence[Shard],
    layers: Sequence[int],
    mean: torch.Tensor,
    inverse: torch.Tensor,
    plan: BatchPlan,
    steps: range,
) -> Iterator[torch.Tensor]:
    """The batches of `plan`, put together where the shards are.

    One gather for each layer of each shard: a copy for every block of rows would take the host
    longer than the step that waits for it.
    """
    device = shards[0].device
    mean, inverse = upload(mean, device), upload(inverse, device)
    for step in steps:
        batch = torch.empty(plan.batch_size, mean.shape[1], device=device)
        pieces: dict[tuple[int, int], list[Segment]] = {}
        for segment in plan.segments(step):
            pieces.setdefault((segment.shard, segment.layer), []).append(segment)
        for (shard, layer), segments in pieces.items():
            read, put = (
                torch.cat([torch.arange(first, first + each.n_rows) for first, each in runs])
                for runs in (
                    [(each.start, each) for each in segments],
                    [(each.position, each) for each in segments],
                )
            )
            rows, places = upload(torch.stack([read, put]), device)
            values = shards[shard].rows(layers[layer], rows).sub_(mean[layer]).mul_(inverse[layer])
            batch.index_copy_(0, places, values)
        yield batch
