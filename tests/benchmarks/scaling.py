"""How caching, training and evaluation grow; what a large model would take.

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/scaling.py docs/results/bench

Measured is processor time on one thread, the least of some turns. Each table of times is fitted as
c · x₁^p₁ · x₂^p₂ by least squares of the logarithms. `--price` prints what a model of 70 billion
parameters would take, by the formulas of `snakemake plan`. Asserts nothing.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from benchmarks.sae_step import planted
from sae_settings_of import topk_settings
from scipy import stats

from clustersae.activations.blocks import LAYER_BLOCK_ROWS
from clustersae.activations.collecting import Storage, Wanted, collect
from clustersae.cost.forecast import forecast
from clustersae.experiment import config as configuration
from clustersae.experiment.shape import Shape
from clustersae.models.residual import ResidualStream
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.files import write_csv
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.training import Trainer, train

D_MODEL, BATCH, K, N_CTX = 256, 512, 32, 128
SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"


class Part(NamedTuple):
    """What is timed: two sizes, their values, and how long a pair of them takes."""

    sizes: tuple[str, str]
    values: tuple[tuple[int, ...], tuple[int, ...]]
    job: Callable[[int, int], Callable[[], Any]]


def caching(n_tokens: int, n_layers: int) -> Callable[[], Any]:
    """The first layers of a random GPT-2, all of them cached; later blocks do not run."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=512, n_positions=N_CTX, n_embd=D_MODEL, n_layer=24, n_head=4)
    shape.bos_token_id, shape.eos_token_id = 0, 0
    model = GPT2LMHeadModel(shape)
    stream = ResidualStream(model.eval().requires_grad_(False), "transformer.h")
    ids = torch.randint(512, (n_tokens // N_CTX, N_CTX))
    places = torch.randperm(ids.numel()).reshape(ids.shape)
    wanted = Wanted(places, torch.zeros(ids.shape, dtype=torch.bool))
    storage = Storage(torch.bfloat16, tuple(range(n_layers)), batch_rows=8)
    return lambda: collect(stream, ids, wanted, D_MODEL, storage, torch.device("cpu"))


def training(n_tokens: int, d_sae: int) -> Callable[[], Any]:
    """One SAE from start to end."""
    batches = list(planted(16, BATCH, D_MODEL))
    n_steps = n_tokens // BATCH
    settings = topk_settings(d_sae, K, n_steps=n_steps, batch_size=BATCH)

    def run() -> None:
        trainer = Trainer(_sae(d_sae), settings)
        train(trainer, itertools.islice(itertools.cycle(batches), n_steps))

    return run


def evaluation(n_arms: int, n_layers: int) -> Callable[[], Any]:
    """Reconstruction of per-layer SAEs, one for each layer of every arm, on 16,384 tokens."""
    sae = _sae(2048)
    blocks = [torch.cat(list(planted(LAYER_BLOCK_ROWS // BATCH, BATCH, D_MODEL)))]
    tokens = blocks * (16_384 // LAYER_BLOCK_ROWS)

    def run() -> None:
        for _ in range(n_arms * n_layers):
            evaluate_layer(sae, 0, tokens)

    return run


PARTS = {
    "caching": Part(
        ("tokens", "layers"), ((4_096, 8_192, 16_384, 32_768), (3, 6, 12, 24)), caching
    ),
    "training": Part(
        ("tokens", "d_sae"), ((25_600, 51_200, 102_400, 204_800), (1024, 4096, 16384)), training
    ),
    "evaluation": Part(("arms", "layers"), ((1, 2, 4, 8), (3, 6, 12)), evaluation),
}


def _sae(d_sae: int) -> TopK:
    sae = TopK((0,), d_sae, K, torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(0))
    return sae


def measured(part: Part, times: int) -> Iterator[dict[str, float]]:
    for pair in itertools.product(*part.values):
        run, found = part.job(*pair), []
        for _ in range(times):
            started = time.process_time()
            run()
            found.append(time.process_time() - started)
        yield dict(zip(part.sizes, pair)) | {"seconds": min(found)}


def fitted(table: pd.DataFrame, sizes: tuple[str, ...]) -> pd.DataFrame:
    """Exponent of each size with a 95 % interval (Student's t), and the factor in front."""
    x = np.column_stack([np.ones(len(table)), *(np.log(table[size]) for size in sizes)])
    y = np.log(table["seconds"].to_numpy())
    best, *_ = np.linalg.lstsq(x, y, rcond=None)
    free = len(table) - x.shape[1]
    variance = float(((y - x @ best) ** 2).sum()) / free
    half = stats.t.ppf(0.975, free) * np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    rows = [("factor", np.exp(best[0]), *np.exp([best[0] - half[0], best[0] + half[0]]))]
    rows += [(s, b, b - h, b + h) for s, b, h in zip(sizes, best[1:], half[1:])]
    return pd.DataFrame(rows, columns=["of", "value", "low", "high"])


def measure(folder: Path, times: int) -> None:
    torch.set_num_threads(1)
    fits = []
    for name, part in PARTS.items():
        table = pd.DataFrame(measured(part, times))
        write_csv(folder / f"scaling_{name}.csv", table.to_dict("records"))
        fits.append(fitted(table, part.sizes).assign(part=name))
        print(name, fits[-1].to_string(index=False), sep="\n", flush=True)
    write_csv(folder / "scaling_fits.csv", pd.concat(fits).to_dict("records"))


def draw(folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fits = pd.read_csv(folder / "scaling_fits.csv").set_index(["part", "of"])["value"]
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    for axis, (name, part) in zip(axes, PARTS.items()):
        table, (along, by) = pd.read_csv(folder / f"scaling_{name}.csv"), part.sizes
        groups = table.groupby(by)
        shades = plt.get_cmap("viridis")(torch.linspace(0, 0.85, len(groups)).tolist())
        for (value, here), shade in zip(groups, shades):
            axis.plot(here[along], here["seconds"], "o", ms=4, color=shade, label=f"{value:,}")
            line = fits[name, "factor"] * here[along] ** fits[name, along]
            axis.plot(here[along], line * value ** fits[name, by], "-", lw=0.9, color=shade)
        powers = ", ".join(f"{size}^{fits[name, size]:.2f}" for size in part.sizes)
        axis.set(xscale="log", yscale="log", xlabel=along, ylabel="processor seconds")
        axis.set_xticks(part.values[0], [f"{value:,}" for value in part.values[0]], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_title(f"{name}: {powers}", size=10)
        axis.legend(title=by, fontsize=8, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "scaling.png", dpi=150)


#: Llama 3 70B: arXiv 2407.21783, table 3; weights of its blocks are counted from that.
LARGE = Shape(
    n_layers=80, d_model=8192, n_ctx=1024, vocab_size=128_256, n_block_weights=68_451_041_280
)
#: 8 latents for each dimension, a billion tokens, every layer; and what is compared with them.
LARGE_CONFIG = {
    "models": {
        "large": {
            "repo": "a/model",
            "corpus": {"source": "dataset", "dataset": "a/text", "n_ctx": LARGE.n_ctx},
        }
    },
    "activations": {
        "tokens": {"train": 10**9, "validation": 10**6, "test": 10**6},
        "shard_tokens": 10**6,
        "dtype": "bfloat16",
    },
    "sae": {
        "expansion_factor": 8, "k": 64, "training_tokens": 10**9, "batch_size": 4096,
        "learning_rate": [0.0002], "specialise": {"learning_rate": [0.0002]}, "seeds": [0],
    },
    "arms": {
        "per_layer": [1, 0.5], "shared": {"counts": [10]},
        "specialised": [{"from": 10, "budgets": [0.5]}], "auto": [],
    },
}  # fmt: skip


def price(flops_per_second: float) -> None:
    """Operations of every arm, the hours that they take at the given rate, and the disk."""
    told = forecast(configuration.load(LARGE_CONFIG, SCHEMA)["large"], LARGE)
    hours = flops_per_second * 3600
    for arm in told.arms:
        told_of = ", ".join(
            f"{what} {flops:.3g} ({flops / hours:,.0f} h)"
            for what, flops in (
                ("as Group-SAE counts", arm.dense),
                ("as done here", arm.here),
                ("caching of it", arm.caching),
            )
        )
        print(f"{arm.name}, training {arm.budget:.0%}: {told_of}")
    print(f"cache {told.cache_bytes / 1e12:,.0f} TB, SAEs {told.sae_bytes / 1e12:,.1f} TB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--times", type=int, default=2, help="turns of each size")
    parser.add_argument("--draw", action="store_true", help="only the figure, from the tables")
    parser.add_argument("--price", type=float, metavar="FLOPS", help="at so many per second")
    given = parser.parse_args()
    if given.folder and not given.draw:
        measure(given.folder, given.times)
    if given.folder:
        draw(given.folder)
    if given.price:
        price(given.price)


if __name__ == "__main__":
    main()
