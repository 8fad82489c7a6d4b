"""Which way of specialising gives the least FVU for a given number of activations?

    python tests/benchmarks/specialise_recipes.py results/MODEL --d-sae 512 --k 16 \
        --tokens 3070000 --output recipes.csv

reads the cached activations and partitions of a finished experiment, trains every recipe below
with one seed, and writes its FVU per layer on the validation split. `--recipes steps` varies the
size of batches, and so the number of steps, instead. What was found:
docs/results/specialise/README.md. Asserts nothing; takes about half an hour on one core.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import open_shards
from clustersae.experiment.arms import budget_variant, saes_of, with_ancestors
from clustersae.experiment.clusters import layers_of, parent
from clustersae.experiment.sae_settings import resolve
from clustersae.experiment.variants import scaled_variant
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.files import read_json, write_csv
from clustersae.runtime.tensors import checksum, load_tensors
from clustersae.sae.fitting import Activations, Fit, fit
from clustersae.sae.start import Start
from clustersae.sae.training import Trainer


@dataclass(frozen=True)
class Recipe:
    """One arm: `roots` is none for per-layer training, or the partition to start from."""

    roots: str
    budget: float
    learning_rate: float
    shared_fraction: float = 0.5
    child_learning_rate: float = 1.0  # times the shared SAE's
    root_decay: float = 0.2
    child_decay: float = 0.2
    child_warmup: float = 0.05
    aligned: bool = False
    batch_size: int = 2048  # of the shared SAE, and of per-layer ones
    child_batch_size: int = 2048


def recipes(rates: list[float]) -> Iterator[Recipe]:
    """Per-layer and specialised at all rates, then one change of the recipe at a time."""
    for budget in (0.2, 0.4):
        for rate in rates:
            yield Recipe("none", budget, rate)
            yield Recipe("single", budget, rate)
    rate = rates[len(rates) // 2]
    plain = Recipe("single", 0.4, rate)
    for share in (0.3, 0.7):
        yield replace(plain, shared_fraction=share)
        yield replace(plain, budget=0.2, shared_fraction=share)
    for factor in (0.5, 2.0):
        yield replace(plain, child_learning_rate=factor)
    yield replace(plain, roots="complete-2")
    yield replace(plain, roots="complete-2", budget=0.2)
    for child_decay in (0.2, 0.5, 1.0):
        yield replace(plain, root_decay=0.0, child_decay=child_decay)
    yield replace(plain, aligned=True)
    yield Recipe("none", 0.4, rate, aligned=True)
    yield Recipe("none", 0.4, rate, child_decay=1.0)


def recipes_of_steps(rates: list[float]) -> Iterator[Recipe]:
    """Per-layer training, full and at two budgets, and specialised, by batch size and share.

    Args:
        rates: of batches of 2,048; smaller ones get less, by the root of their ratio.
    """
    sizes = (2048, 512, 128)
    for budget in (1.0, 0.4, 0.2):
        for size in sizes:
            for rate in rates:
                scaled = rate * (size / 2048) ** 0.5
                yield Recipe("none", budget, scaled, batch_size=size)
                if budget < 1:
                    for share in (0.1, 0.2, 0.3, 0.5):
                        yield Recipe(
                            "single", budget, scaled, share, batch_size=size, child_batch_size=size
                        )


RECIPES = {"plain": recipes, "steps": recipes_of_steps}


@contextmanager
def aligned_rows(wanted: bool) -> Iterator[None]:
    """While training: the inner product of a latent's encoder and decoder rows is kept at one."""
    plain = Trainer._normalise_decoder

    @torch.no_grad()
    def aligned(trainer: Trainer) -> None:
        plain(trainer)
        encoder, decoder = trainer.sae.W_enc.t(), trainer.sae.W_dec
        encoder.add_((1 - (encoder * decoder).sum(1, keepdim=True)) * decoder)

    if wanted:
        Trainer._normalise_decoder = aligned
    try:
        yield
    finally:
        Trainer._normalise_decoder = plain


class Bench:
    """The cached activations of one model; trained SAEs are kept, as roots serve many recipes."""

    def __init__(self, folder: Path, sae: dict[str, Any], seed: int) -> None:
        self.folder, self.sae, self.seed = folder, sae, seed
        self.statistics, _ = load_tensors(folder / "activations/statistics.safetensors")
        self.train, self.validation = (
            open_shards(sorted((folder / "activations" / split).glob("*.safetensors")))
            for split in ("train", "validation")
        )
        self.description = read_json(folder / "clusters/partitions.json")
        self.fits: dict[tuple, Fit] = {}

    def row(self, recipe: Recipe) -> dict[str, Any]:
        if recipe.roots == "none":
            partition, variant = "per-layer", scaled_variant("tokens", recipe.budget)
        else:
            partition = f"per-layer@{recipe.roots}"
            variant = budget_variant(
                self.description, partition, recipe.budget, recipe.shared_fraction
            )
        saes = saes_of(self.description, variant, partition)
        with aligned_rows(recipe.aligned):
            values = [
                evaluate_layer(
                    self.fit(recipe, *each).sae,
                    layers_of(each[1])[0],
                    layer_blocks(self.validation, layers_of(each[1])[0]),
                ).compute()["fvu"]
                for each in saes
            ]
        layers = {f"fvu_{layer}": value for layer, value in enumerate(values)}
        summary = {"fvu": sum(values) / len(values), "fvu_worst": max(values)}
        spent = {"n_saes": len(with_ancestors(saes)), "variant": variant}
        return asdict(recipe) | spent | {"seed": self.seed} | summary | layers

    def fit(self, recipe: Recipe, variant: str, name: str) -> Fit:
        start = None
        if parent(name):
            before = self.fit(recipe, parent(variant), parent(name))
            n_read = before.settings.n_steps * before.settings.batch_size
            start = Start(before.sae, n_read, checksum(before.sae.state_dict()))
            rate = recipe.learning_rate * recipe.child_learning_rate
            warmup, decay = recipe.child_warmup, recipe.child_decay
            batch_size = recipe.child_batch_size
        else:
            alone = recipe.roots == "none"
            rate, warmup = recipe.learning_rate, 0.05
            decay = recipe.child_decay if alone else recipe.root_decay
            batch_size = recipe.batch_size
        key = (variant, name, rate, warmup, decay, recipe.aligned)
        key += (recipe.learning_rate, recipe.root_decay, recipe.batch_size, batch_size)
        if key not in self.fits:
            layers = list(layers_of(name))
            mean, scale = self.statistics["mean"][layers], self.statistics["scale"][layers]
            config = self.sae | {"learning_rate": rate, "specialise": {"learning_rate": None}}
            config |= {"warmup_fraction": warmup, "decay_fraction": decay}
            config |= {"batch_size": batch_size, "min_steps": 0}
            settings = resolve(config, variant, len(layers), mean.shape[1], self.seed)
            data = Activations(self.train, tuple(layers), mean, scale)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "checkpoint.safetensors"
                self.fits[key] = fit(data, settings, file, name, torch.device("cpu"), start=start)
        return self.fits[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--d-sae", type=int, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--recipes", choices=list(RECIPES), default="plain")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.004, 0.008, 0.016])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first recipes")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sae = {
        "architecture": "topk",
        "d_sae": given.d_sae,
        "k": given.k,
        "training_tokens": given.tokens,
        "auxk_alpha": 1 / 32,
        "dead_after": 100_000,
        "max_grad_norm": 1.0,
    }
    bench = Bench(given.results, sae, given.seed)
    rows = []
    for recipe in list(dict.fromkeys(RECIPES[given.recipes](given.rates)))[given.skip :]:
        rows.append(bench.row(recipe))
        print(f"{rows[-1]['fvu']:.4f} {rows[-1]['fvu_worst']:.4f} {recipe}", flush=True)
        write_csv(given.output, rows)


if __name__ == "__main__":
    main()
