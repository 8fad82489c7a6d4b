"""Throughput of caching beside that of the bare forward pass; prints, asserts nothing.

    python tests/benchmarks/caching.py [threads]

A random GPT-2 of 6 layers and width 384 reads the same batches both ways, in turns, so that a busy
machine slows both.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from clustersae.activations.collecting import Storage, Wanted, collect
from clustersae.models.residual import ResidualStream

N_ROWS, N_CTX, BATCH_ROWS, REPEATS = 24, 256, 8, 5


def measure(
    stream: ResidualStream,
    ids: torch.Tensor,
    d_model: int,
    layers: Sequence[int],
    dtype: torch.dtype,
    where: torch.device,
    batch_rows: int = BATCH_ROWS,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Tokens per second of the forward pass alone and of caching, and their ratio.

    Args:
        stream: of the model, on `where`.
        ids: int64 [n_rows, n_ctx] on the CPU, all of which are cached.
        layers: those that are cached; dtype: on disk.
    """
    wanted = Wanted(
        torch.randperm(ids.numel()).reshape(ids.shape), torch.zeros(ids.shape, dtype=torch.bool)
    )
    storage = Storage(dtype, tuple(layers), batch_rows=batch_rows)

    def bare() -> None:
        with torch.no_grad():
            for rows in ids.split(batch_rows):
                stream.model.base_model(input_ids=rows.to(where), use_cache=False)
        if where.type == "cuda":
            torch.cuda.synchronize(where)

    ratios, rates = [], []
    for repeat in range(repeats + 1):
        seconds = [
            _seconds(bare),
            _seconds(lambda: collect(stream, ids, wanted, d_model, storage, where)),
        ]
        if repeat:  # the first turn warms up
            ratios.append(seconds[0] / seconds[1])
            rates.append([ids.numel() / each for each in seconds])
    forward, cached = (statistics.median(column) for column in zip(*rates))
    return {
        "tokens": ids.numel(),
        "batch_rows": batch_rows,
        "layers": len(layers),
        "stored_as": str(dtype).removeprefix("torch."),
        "forward_tokens_per_second": forward,
        "caching_tokens_per_second": cached,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def main(threads: int, device: str = "cuda" if torch.cuda.is_available() else "cpu") -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=512,
        n_positions=N_CTX,
        n_embd=384,
        n_layer=6,
        n_head=6,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval().requires_grad_(False).to(device)
    stream = ResidualStream(model, "transformer.h")
    ids = torch.randint(512, (N_ROWS, N_CTX))
    for dtype in (torch.float32, torch.bfloat16):
        found = measure(stream, ids, 384, range(6), dtype, torch.device(device))
        print(
            f"{found['stored_as']}: forward {found['forward_tokens_per_second']:,.0f} tokens/s,"
            f" caching {found['caching_tokens_per_second']:,.0f} tokens/s, ratio"
            f" {found['ratio']:.2f} ({min(found['ratios']):.2f} to {max(found['ratios']):.2f} in"
            f" {REPEATS} pairs; {device}, {threads} threads)"
        )


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
