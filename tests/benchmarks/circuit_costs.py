"""What circuits cost on a model beside the passes they cannot do without; prints, asserts nothing.

    python tests/benchmarks/circuit_costs.py MODEL_DIR [task] [n_pairs] [n_layers] [threads]

records a task (a generated one, or a file of prompts; `random`: 16 random tokens) of so many pairs
for training and for test, at so many layers, and measures one sweep of circuits in SAEs that nobody
trained, of 8 · d_model latents. Beside each stands what a bare model takes for the passes that have
to be: each prompt once; from each layer on, forward and back for every step of the integral, from
the first token on that differs; every circuit on every prompt from the first layer on. Ratios are
of processor time, which other jobs of the machine disturb less.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.circuits.attribution import attributed_effects, exact_effects
from clustersae.circuits.curves import log_sizes
from clustersae.circuits.dictionaries import dictionaries_of
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.gradients import STEPS
from clustersae.circuits.grouping import group_pairs, matching_lengths
from clustersae.circuits.nodes import Nodes, top
from clustersae.circuits.pairs import Pairs
from clustersae.circuits.recording import record, run_clean
from clustersae.circuits.tasks.prepare import prepare
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.models.anatomy import describe
from clustersae.models.description import read_description
from clustersae.models.loading import load_pretrained
from clustersae.models.residual import ResidualStream
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.module import SparseAutoencoder

N_SIZES, K, EXACT_NODES, BARE_ROWS = 8, 32, 5, 32


class Spent(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float  # of all threads together


def main(model_dir: Path, task: str, n_pairs: int, n_layers: int, threads: int) -> None:
    torch.set_num_threads(threads)
    known = (model_dir / "description.json").is_file()
    description = read_description(model_dir) if known else describe(model_dir, str(model_dir))
    stream = ResidualStream(load_pretrained(model_dir), description)
    layers = sorted({layer * stream.n_layers // n_layers for layer in range(n_layers)})
    splits = _pairs(model_dir, task, n_pairs, description)
    n_tokens = splits[0][0].n_tokens
    print(
        f"{task}: {sum(len(each.clean) for each, _ in splits)} + "
        f"{sum(len(each.clean) for _, each in splits)} pairs, {len(splits)} lengths from"
        f" {n_tokens} tokens, {len(layers)} of {stream.n_layers} layers, {threads} threads"
    )
    trains, tests = zip(*splits)
    forward = sum(_bare(stream, pairs.clean).cpu for pairs in trains)
    back = sum(_bare(stream, pairs.clean[:, _shared(pairs) :], True).cpu for pairs in trains)
    test = sum(_bare(stream, pairs.clean).cpu for pairs in tests)
    runs, spent = _timed(lambda: [run_clean(stream, pairs, layers[0]) for pairs in tests])
    _print("clean test prompts", spent, test)
    recordings, spent = _timed(lambda: [record(stream, pairs, layers=layers) for pairs in trains])
    blocks = sum(stream.n_layers - 1 - layer for layer in layers) / stream.n_layers
    _print("recording", spent, 2 * forward + STEPS * blocks * back)
    dictionaries = dictionaries_of([_untrained(layer, description.d_model) for layer in layers])
    effects, spent = _timed(lambda: attributed_effects(stream, dictionaries, recordings))
    _print("attributed effects", spent)
    numbers = top(effects, EXACT_NODES)
    _, spent = _timed(lambda: exact_effects(stream, dictionaries, recordings, numbers))
    nodes = Nodes(dictionaries)
    depths = [1 - (1 + nodes.node(number).layer) / stream.n_layers for number in numbers]
    _print(f"exact effects of {EXACT_NODES} nodes", spent, sum(depths) * forward)
    evaluation, spent = _timed(lambda: Evaluation(stream, dictionaries, recordings, runs, "mean"))
    after_first = test * (stream.n_layers - 1 - layers[0]) / stream.n_layers
    _print("stand-ins and the empty circuit", spent, after_first)
    sizes = log_sizes(len(layers) * description.d_model, N_SIZES)
    _, spent = _timed(lambda: evaluation.sweep(effects, sizes, "ablated"))
    _print(f"a sweep of {len(sizes)} sizes", spent, 2 * len(sizes) * after_first)


def _pairs(model_dir: Path, task: str, n_pairs: int, description) -> list[tuple[Pairs, Pairs]]:
    """Training and test pairs of every length."""
    if task == "random":
        shape = 2, 2, n_pairs, 16
        tokens = torch.randint(2, description.vocab_size, shape)
        answers = torch.randint(2, description.vocab_size, (2, 2, n_pairs))
        pairs = [
            Pairs(clean, corrupted, answer, wrong, torch.arange(n_pairs), 1)
            for (clean, corrupted), (answer, wrong) in zip(tokens, answers)
        ]
        return [(pairs[0], pairs[1])]
    loaded = model_tokenizer(model_dir)
    found = prepare(task, loaded, description.n_ctx, n_pairs, n_pairs)
    print(found.summary())
    train, test = (group_pairs(each, first=1) for each in (found.train, found.test))
    return [(train[length], test[length]) for length in matching_lengths(train, test)]


def _untrained(layer: int, d_model: int) -> SparseAutoencoder:
    sae = TopK((layer,), 8 * d_model, K, torch.zeros(1, d_model), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(layer))
    return sae.requires_grad_(False)


def _shared(pairs: Pairs) -> int:
    """Tokens before the first that differs in any pair."""
    return int((pairs.clean != pairs.corrupted).any(0).int().argmax())


def _bare(stream: ResidualStream, tokens: torch.Tensor, back: bool = False) -> Spent:
    """The model without unembedding on these rows, and the way back if asked for."""

    def run() -> None:
        for rows in tokens.split(BARE_ROWS):
            x = stream.model.get_input_embeddings()(rows).requires_grad_(back)
            with torch.set_grad_enabled(back):
                output = stream.model.base_model(inputs_embeds=x, use_cache=False)[0]
                if back:
                    torch.autograd.grad(output[:, -1].sum(), x)

    return _timed(run)[1]


def _timed(function: Callable) -> tuple[Any, Spent]:
    started = time.perf_counter(), time.process_time()
    result = function()
    return result, Spent(time.perf_counter() - started[0], time.process_time() - started[1])


def _print(what: str, spent: Spent, least: float | None = None) -> None:
    text = f"{what}: {spent.wall:.1f} s ({spent.cpu:.1f} of processors)"
    if least is not None:
        text += f", {spent.cpu / least:.2f} of the {least:.1f} s of its passes"
    print(text, flush=True)


if __name__ == "__main__":
    texts = [*sys.argv[2:], *("indirect_object", "100", "10", "2")[len(sys.argv) - 2 :]]
    main(Path(sys.argv[1]), texts[0], *map(int, texts[1:]))
