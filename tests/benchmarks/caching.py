"""Throughput of caching beside that of the bare forward pass; prints, asserts nothing.

    python tests/benchmarks/caching.py [threads]

A random GPT-2 of 6 layers and width 384 reads the same batches both ways, in turns, so that a busy
machine slows both.
"""

import statistics
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from clustersae.activations.caching import CachingSettings, collect
from clustersae.models.residual import ResidualStream

N_ROWS, N_CTX, BATCH_ROWS, REPEATS = 24, 256, 8, 5


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
    places = torch.randperm(ids.numel()).reshape(ids.shape)

    def bare() -> None:
        with torch.no_grad():
            for rows in ids.split(BATCH_ROWS):
                model.base_model(input_ids=rows.to(device), use_cache=False)
        if device == "cuda":
            torch.cuda.synchronize()

    def caching(dtype: str) -> None:
        collect(stream, ids, places, 384, CachingSettings(dtype, BATCH_ROWS), device)

    for dtype in ("float32", "bfloat16"):
        ratios, rates = [], []
        for repeat in range(REPEATS + 1):
            seconds = [_seconds(bare), _seconds(lambda dtype=dtype: caching(dtype))]
            if repeat:  # the first turn warms up
                ratios.append(seconds[0] / seconds[1])
                rates.append([ids.numel() / s for s in seconds])
        forward, cached = (statistics.median(column) for column in zip(*rates))
        print(
            f"{dtype}: forward {forward:,.0f} tokens/s, caching {cached:,.0f} tokens/s, ratio"
            f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in"
            f" {REPEATS} pairs; {device}, {threads} threads)"
        )


def _seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
