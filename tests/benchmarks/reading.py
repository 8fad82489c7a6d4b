"""Batches read from shards beside activations held in memory: is reading what a step waits for?

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/reading.py docs/results/bench

Shards of planted activations are written to a temporary folder and read once, so that all of them
are in the page cache. Then, in turns: batches alone, from shards and from copies of their tensors
in memory; and steps of a TopK SAE on batches made before, on batches from shards, and on batches
that a thread reads ahead. Processor time, and elapsed time, which other jobs on the machine
lengthen. Asserts nothing.
"""

import argparse
import itertools
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from benchmarks.sae_step import planted, write
from sae_settings_of import topk_settings

from clustersae.activations.batches import normalised_batches
from clustersae.activations.shards import Shard, open_shard, write_shard
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.training import Trainer

#: batch, d_model, d_sae, k, layers of the SAE: a large step of a shared one, a small one of a
#: specialised one.
CASES = [(2048, 576, 4608, 32, 3), (128, 576, 4608, 32, 1)]
ROWS, DTYPES = 40_000, (torch.float32, torch.bfloat16)


def shard_in(folder: Path, d_model: int, layers: int, dtype: torch.dtype) -> Shard:
    """One shard of ROWS tokens at every layer, as caching writes it, read once."""
    values = torch.cat(list(planted(10, ROWS // 10, d_model)))
    centre = None if dtype == torch.float32 else torch.ones(layers, d_model)
    columns = [torch.zeros(ROWS, dtype=torch.int32) for _ in range(3)]
    path = folder / f"{d_model}-{layers}-{dtype}.safetensors"
    write_shard(
        path, [values.to(dtype, copy=True) for _ in range(layers)], *columns, fingerprint="f" * 64,
        hook="hook", split="train", shard=0, seed=0, centre=centre,
    )  # fmt: skip
    shard = open_shard(path)
    for layer in range(layers):
        shard.verify(layer)
    return shard


def copied(shard: Shard) -> Shard:
    """The same with its tensors in memory of this process."""
    tensors = {name: each.clone() for name, each in shard._tensors.items()}
    return Shard(shard.path, tensors, shard.metadata)


def ahead(batches: Iterable[torch.Tensor], depth: int = 2) -> Iterator[torch.Tensor]:
    """`batches`, which a thread reads up to `depth` ahead."""
    waiting: queue.Queue[torch.Tensor | None] = queue.Queue(depth)

    def read() -> None:
        for batch in batches:
            waiting.put(batch)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (batch := waiting.get()) is not None:
        yield batch


def measured(
    case: tuple[int, int, int, int, int], shard: Shard, dtype: torch.dtype, turns: int, steps: int
) -> list[dict[str, object]]:
    """A row for every way of reading, best of all turns."""
    batch, d_model, d_sae, k, layers = case
    mean, scale = torch.zeros(layers, d_model), torch.ones(layers)
    settings = topk_settings(d_sae, k, n_steps=10**6, batch_size=batch, learning_rate=1e-4)
    sae = TopK(range(layers), d_sae, k, mean, scale)
    sae.initialise(torch.Generator().manual_seed(0))
    trainer = Trainer(sae, settings)
    held, begun = copied(shard), itertools.count(step=steps)

    def batches(source: Shard) -> Iterator[torch.Tensor]:
        first = next(begun)  # others than last time, which a cache of the processor might hold
        indices = range(layers)
        yield from normalised_batches(
            [source], indices, mean, scale, batch, 0, range(first, first + steps)
        )

    def only(source: Shard) -> None:
        for _ in batches(source):
            pass

    def train(given: Iterable[torch.Tensor]) -> None:
        for each in given:
            trainer.step(each)

    ready = list(batches(shard))
    ways: dict[str, Callable[[], None]] = {
        "batches, memory": lambda: only(held),
        "batches, shards": lambda: only(shard),
        "steps, memory": lambda: train(ready),
        "steps, shards": lambda: train(batches(shard)),
        "steps, shards read ahead": lambda: train(ahead(batches(shard))),
    }
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn, (way, run) in itertools.product(range(turns + 1), ways.items()):
        processor, elapsed = time.process_time(), time.perf_counter()
        run()
        if turn:  # the first is for warming up
            times[way].append((time.process_time() - processor, time.perf_counter() - elapsed))
    rows = []
    for way, found in times.items():
        least = [1000 * min(column) / steps for column in zip(*found)]
        base = [
            1000 * min(column) / steps for column in zip(*times[f"{way.split(',')[0]}, memory"])
        ]
        rows.append(
            {
                "batch": batch, "d_model": d_model, "d_sae": d_sae, "layers": layers,
                "dtype": str(dtype).removeprefix("torch."), "way": way, "turns": turns,
                "processor_ms": least[0], "elapsed_ms": least[1],
                "rate_to_memory": base[0] / least[0], "elapsed_rate_to_memory": base[1] / least[1],
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    for case, dtype in itertools.product(CASES, DTYPES):
        with tempfile.TemporaryDirectory() as folder:
            shard = shard_in(Path(folder), case[1], case[4], dtype)
            rows += measured(case, shard, dtype, given.turns, steps=max(4, 1024 // case[0]))
        write(given.folder / "reading.csv", rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
