"""What measuring splices costs, against the passes of the model that it cannot do without.

    python tests/benchmarks/splice_costs.py MODEL [TOKENS] [LAYERS]

MODEL is a directory that `clustersae.models.importing.import_model` has made, TOKENS the number of
random tokens in rows of 256 (1024), LAYERS the number of studied layers, evenly spread (10). Every
layer is ablated alone and all at once, to zero and to the mean, as in `evaluate_language_model`.
Needed: one pass over the blocks for the clean model, for every splice the blocks after its first
layer, and for each the unembedding at the scored positions. Asserts nothing.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.quality.splice import EvaluationTokens, mean_ablation, measure, zero_ablation

N_CTX, BATCH_ROWS = 256, 4


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


@torch.no_grad()
def main(model_dir: Path, n_tokens: int, n_layers: int) -> None:
    """Print seconds, the number of passes they are worth, and the ratio to what is needed."""
    description = read_description(model_dir)
    stream = ResidualStream(load_model(model_dir, description), description)
    generator = torch.Generator().manual_seed(0)
    shape = max(1, n_tokens // N_CTX), N_CTX
    tokens = torch.randint(description.vocab_size, shape, generator=generator)
    kept = torch.ones(shape, dtype=torch.bool)
    text = EvaluationTokens(tokens, kept, kept[:, 1:])
    step = max(1, stream.n_layers // n_layers)
    layers = list(range(0, stream.n_layers, step))[:n_layers]
    mean = torch.zeros(description.d_model)
    groups = [[layer] for layer in layers] + [layers]
    splices = [zero_ablation(group) for group in groups]
    splices += [mean_ablation(dict.fromkeys(group, mean)) for group in groups]

    last = stream.n_layers - 1
    batches = tokens.split(BATCH_ROWS)
    blocks = timed(lambda: [stream.visit(part, lambda *_: None, [last]) for part in batches])
    x = [torch.randn(part.numel(), description.d_model) for part in batches]
    unembedding = timed(lambda: [stream.unembed(part).sum() for part in x])
    passes = 1 + sum(1 - (min(splice) + 1) / stream.n_layers for splice in splices)
    needed = passes * blocks + (1 + len(splices)) * unembedding
    print(
        f"{tokens.numel()} tokens, {len(layers)} of {stream.n_layers} layers, "
        f"{torch.get_num_threads()} threads"
    )
    print(
        f"blocks {blocks:.1f} s a pass, unembedding {unembedding:.1f} s; "
        f"{len(splices)} splices need {passes:.1f} passes: {needed:.1f} s"
    )
    for name, divergence in (("cross-entropy", False), ("and divergence", True)):
        spent = timed(partial(measure, stream, text, splices, BATCH_ROWS, divergence=divergence))
        print(f"{name}: {spent:.1f} s, {spent / needed:.2f} of what is needed")


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[2:]]
    main(Path(sys.argv[1]), *(numbers + [1024, 10][len(numbers) :]))
