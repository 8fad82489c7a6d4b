"""How fast a preset's language model trains, on a stand-in for its corpus.

    python tests/benchmarks/lm_training.py workflow/presets/enwik8.yaml TEXT [--steps 2000]

The stand-in has as many symbols as the corpus and a vocabulary as large, made from TEXT, any long
text file: speeds are those of the corpus, losses are not, and the record says so. Ten steps come
first, which compile. Prints the record as JSON; asserts nothing. The seconds of the whole training
are an upper bound: each of its steps is given its share of tracing the network again.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from clustersae.corpora import characters
from clustersae.pretraining import config
from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.settings import TrainingSettings
from clustersae.pretraining.training import train
from clustersae.runtime import device

MODULE = Path(__file__).parents[2] / "workflow" / "modules" / "language_models"
#: Training and validation symbols, and different ones, of the named corpora (see `corpora.named`).
SIZES = {
    "shakespeare_char": (1_003_854, 111_540, 65),
    "enwik8": (90_000_000, 5_000_000, 205),
    "text8": (90_000_000, 5_000_000, 27),
}
WARM = 10  # steps


def stand_in(text: Path, n_symbols: int, n_letters: int) -> np.ndarray:
    """Ids uint8 [n_symbols] below `n_letters`, all of which occur."""
    symbols = characters.read_symbols(text)
    counts = np.bincount(symbols, minlength=256)
    table = np.zeros(256, dtype=np.uint8)
    table[np.argsort(-counts)] = np.minimum(np.arange(256), n_letters - 1)
    ids = np.resize(table[symbols], n_symbols)
    rare = np.random.default_rng(0).integers(0, n_symbols, n_symbols // 100)
    ids[rare] = np.arange(len(rare)) % n_letters
    return ids


def measure(
    name: str,
    model: dict[str, Any],
    text: Path,
    steps: int,
    where: torch.device,
    sizes: tuple[int, int, int] | None = None,
) -> dict[str, Any]:
    """The record of `steps` steps of a language model's training.

    Args:
        name: what the record calls it.
        model: its complete settings, as `pretraining.config.load` gives them.
        sizes: of the stand-in, as in SIZES; by default those of the model's corpus.
    """
    n_train, n_validation, n_letters = sizes or SIZES[model["corpus"]["name"]]
    n_ctx = model["corpus"]["n_ctx"]
    fields = {field.name for field in dataclasses.fields(TrainingSettings)}
    asked = {key: value for key, value in model["training"].items() if key in fields}
    settings = TrainingSettings(**{**asked, "betas": tuple(asked["betas"])})
    ids = torch.from_numpy(stand_in(text, n_train + n_validation, n_letters))
    read, held_out = (
        part[: len(part) // n_ctx * n_ctx].view(-1, n_ctx)
        for part in ids.split([n_train, n_validation])
    )
    shape = Architecture(**model["architecture"], n_ctx=n_ctx)
    network = build_model(shape, n_letters, None, None, settings.seed, settings.dropout)
    network.to(where)  # type: ignore[arg-type]  # transformers wraps it without a type

    def seconds(n_steps: int) -> float:
        started = time.perf_counter()
        train(network, read, held_out, dataclasses.replace(settings, steps=n_steps), None)
        return time.perf_counter() - started  # the weights have been copied: nothing is pending

    on_gpu = where.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(where)
    warm = seconds(WARM)
    spent = seconds(steps)
    return {
        "preset": name,
        "text": "another text of the same size and vocabulary: its losses say nothing",
        "device": torch.cuda.get_device_name(where) if on_gpu else "cpu",
        "torch": torch.__version__,
        "steps": steps,
        "first_steps_seconds": round(warm, 2),
        "seconds": round(spent, 2),
        "milliseconds_per_step": round(1000 * spent / steps, 3),
        "extrapolated_seconds": round(warm + spent * settings.steps / steps, 1),
        "peak_memory_mb": round(torch.cuda.max_memory_allocated(where) / 1e6) if on_gpu else None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("preset", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    asked = parser.parse_args()
    where = device.choose(int(torch.cuda.is_available()))
    given = yaml.safe_load(asked.preset.read_text(encoding="utf-8"))["language_models"]
    name, model = next(iter(config.load(given, MODULE / "schema.yaml").items()))
    print(json.dumps(measure(name, model, asked.text, asked.steps, where), indent=2))
