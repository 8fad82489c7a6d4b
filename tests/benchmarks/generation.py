"""Generation with the cache against without it: python tests/benchmarks/generation.py [N_TOKENS].

For models of random weights on the CPU, one sequence at a time, from one token on. Prints tokens
per second of processor time of both, measured in turns, their ratio, and whether the texts are the
same; asserts nothing.
"""

import statistics
import sys
import time

import torch

from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.decoding import Decoder
from clustersae.pretraining.generation import Sampling, generate

VOCAB_SIZE, PAIRS = 65, 3
SHAPES = {"cpu preset": Architecture(4, 128, 4, 64), "published": Architecture(6, 384, 6, 256)}


def rate(decoder: Decoder, sampling: Sampling, stride: int, cached: bool):
    started = time.process_time()
    ids = generate(decoder, [1], sampling, seed=0, stride=stride, cached=cached)
    return sampling.n_tokens / (time.process_time() - started), ids


def main(n_tokens: int) -> None:
    torch.set_num_threads(1)
    print(f"{n_tokens} tokens, one thread, torch {torch.__version__}, median of {PAIRS} pairs")
    sampling = Sampling(n_tokens=n_tokens)
    for name, shape in SHAPES.items():
        decoder = Decoder(build_model(shape, VOCAB_SIZE, None, None, seed=0).eval())
        generate(decoder, [1], Sampling(n_tokens=8), seed=0)
        for window, stride in {"last tokens": 1, "in halves": shape.n_ctx // 2}.items():
            pairs = [
                (rate(decoder, sampling, stride, True), rate(decoder, sampling, stride, False))
                for _ in range(PAIRS)
            ]
            same = all(with_cache[1] == without[1] for with_cache, without in pairs)
            cached, uncached = (
                statistics.median(each[0] for each in column) for column in zip(*pairs)
            )
            ratio = statistics.median(one[0] / other[0] for one, other in pairs)
            print(
                f"{name:10}, n_ctx {shape.n_ctx:3d}, window of {window:11}: with"
                f" {cached:7.0f} tokens/s, without {uncached:7.0f}, ratio {ratio:5.2f}, same text:"
                f" {same}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
