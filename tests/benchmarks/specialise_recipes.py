"""Which way of specialising gives the least FVU for a given number of activations?

    python tests/benchmarks/specialise_recipes.py results/MODEL RATE --output recipes.csv \
        --config d_sae=384 k=12 training_tokens=160000 batch_size=256

reads the cached activations and partitions of a finished experiment and trains every recipe below
at two budgets. One change at a time is made to the recipe that the workflow follows by default.
Rates are chosen as the workflow does, with the first seed by FVU on the validation split; the rest
is the test split, log ratios averaged over layers, Student's t over seeds. What was found:
docs/results/specialise/README.md. Asserts nothing; takes half an hour or more of one core.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import open_shards
from clustersae.experiment import schema
from clustersae.experiment.arms import budget_variant, saes_of
from clustersae.experiment.clusters import FROM, layers_of, parent
from clustersae.experiment.sae_settings import resolve
from clustersae.experiment.variants import (
    EQUAL_EXPOSURE,
    EVERY_LAYER,
    kind_of,
    scaled_variant,
    times_read,
)
from clustersae.experiment.windows import first_step
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.files import read_json, write_csv
from clustersae.runtime.tensors import checksum, load_tensors
from clustersae.sae.fitting import Activations, Fit, fit
from clustersae.sae.start import Start
from clustersae.statistics.intervals import cells, excess

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"
BUDGETS, SEEDS = (0.2, 0.5), (0, 1, 2)
#: Times RATE: of what starts from scratch, and of what starts from another.
FACTORS, CHILD_FACTORS = (0.5, 1.0, 2.0), (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Recipe:
    """`roots` is the partition to start from, or none for per-layer training."""

    roots: str = "single"
    shared_fraction: float = 0.25
    reading: str = EQUAL_EXPOSURE  # the kind of variant of the shared SAE
    root_decay: float = 0.2
    child_decay: float = 0.2
    child_warmup: float = 0.05
    min_steps: int = 2000


PLAIN = Recipe()
RECIPES = {
    "as the workflow does": PLAIN,
    "per-layer": replace(PLAIN, roots="none"),
    "a tenth of the budget shared": replace(PLAIN, shared_fraction=0.1),
    "half of it shared": replace(PLAIN, shared_fraction=0.5),
    "each token at one layer": replace(PLAIN, reading="tokens"),
    "each token at all layers at once": replace(PLAIN, reading=EVERY_LAYER),
    "two shared SAEs (complete linkage)": replace(PLAIN, roots="complete-2"),
    "shared SAE without decay of its rate": replace(PLAIN, root_decay=0.0),
    "decay over half of the steps": replace(PLAIN, child_decay=0.5),
    "decay over all steps": replace(PLAIN, child_decay=1.0),
    "no second warm-up": replace(PLAIN, child_warmup=0.0),
    "second warm-up over a fifth": replace(PLAIN, child_warmup=0.2),
    "batches not halved": replace(PLAIN, min_steps=0),
}


class Bench:
    """The cached activations of one model; trained SAEs are kept, as roots serve many recipes."""

    def __init__(self, folder: Path, sae: dict[str, Any]) -> None:
        self.sae = sae
        self.statistics, _ = load_tensors(folder / "activations/statistics.safetensors")
        self.shards = {
            split: open_shards(sorted((folder / "activations" / split).glob("*.safetensors")))
            for split in ("train", "validation", "test")
        }
        self.description = read_json(folder / "clusters/partitions.json")
        self.fits: dict[tuple, Fit] = {}

    def saes(self, recipe: Recipe, budget: float) -> tuple[tuple[str, str], ...]:
        """Variant and name of one SAE per layer, as they are at the end."""
        if recipe.roots == "none":
            return saes_of(self.description, scaled_variant("tokens", budget), "per-layer")
        partition = f"per-layer@{recipe.roots}"
        own, _, _ = budget_variant(budget, recipe.shared_fraction).partition(FROM)
        share = budget * recipe.shared_fraction
        if recipe.reading == "tokens":  # as many activations
            n_roots = len(self.description["partitions"][recipe.roots]["clusters"])
            share *= self.description["n_layers"] / n_roots
        variant = f"{own}{FROM}{scaled_variant(recipe.reading, share)}"
        return saes_of(self.description, variant, partition)

    def fvu(
        self, split: str, recipe: Recipe, saes: Sequence[tuple[str, str]], *rest: Any
    ) -> np.ndarray:
        """Per layer; `rest` is the rate from scratch, that of what goes on, and the seed."""
        found = {}
        for variant, name in saes:
            sae = self.fit(recipe, variant, name, *rest).sae
            for layer in layers_of(name):
                blocks = layer_blocks(self.shards[split], layer)
                found[layer] = evaluate_layer(sae, layer, blocks).compute()["fvu"]
        return np.array([found[layer] for layer in sorted(found)])

    def fit(
        self, recipe: Recipe, variant: str, name: str, rate: float, child_rate: float, seed: int
    ) -> Fit:
        start, warmup, decay, own_rate = None, 0.05, recipe.root_decay, rate
        if parent(name):
            before = self.fit(recipe, parent(variant), parent(name), rate, rate, seed)
            start = Start(before.sae, checksum(before.sae.state_dict()))
            warmup, decay, own_rate = recipe.child_warmup, recipe.child_decay, child_rate
        key = (
            variant,
            name,
            warmup,
            decay,
            own_rate,
            rate,
            recipe.root_decay,
            recipe.min_steps,
            seed,
        )
        if key not in self.fits:
            layers = layers_of(name)
            mean, scale = (self.statistics[part][list(layers)] for part in ("mean", "scale"))
            config = self.sae | {"min_steps": recipe.min_steps}
            config |= {"warmup_fraction": warmup, "decay_fraction": decay}
            settings = resolve(config, variant, len(layers), mean.shape[1], seed, own_rate)
            at_once = kind_of(variant) == EVERY_LAYER
            times = times_read(variant, len(layers))
            shards = self.shards["train"]
            data = Activations(shards, tuple(layers), mean, scale, at_once, None, times)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "checkpoint.safetensors"
                self.fits[key] = fit(
                    data,
                    settings,
                    file,
                    name,
                    torch.device("cpu"),
                    start=start,
                    first_step=first_step(config, variant, name),
                )
        return self.fits[key]

    def rates(self, recipe: Recipe, budget: float, middle: float) -> tuple[float, float]:
        """The best on validation: of what starts from scratch, then of what goes on from it."""
        saes = self.saes(recipe, budget)
        roots = list(dict.fromkeys((parent(v), parent(n)) for v, n in saes if parent(n)))

        def loss(which: Sequence[tuple[str, str]], *rates: float) -> float:
            return float(np.log(self.fvu("validation", recipe, which, *rates, SEEDS[0])).mean())

        tried = [factor * middle for factor in FACTORS]
        rate = min(tried, key=lambda each: loss(roots or saes, each, each))
        if not roots:
            return rate, rate
        tried = [factor * middle for factor in CHILD_FACTORS]
        return rate, min(tried, key=lambda each: loss(saes, rate, each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("rate", type=float, help="in the middle of those to be tried")
    parser.add_argument("--config", nargs="+", default=[], help="key=value of the section sae")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    own = {key: yaml.safe_load(value) for key, value in (each.split("=") for each in given.config)}
    keys = schema.read(SCHEMA)
    bench = Bench(given.results, schema.filled(own, keys["$defs"]["sae"], keys))
    rows = []
    for budget in BUDGETS:
        plain = None
        for name in given.recipes:
            recipe = RECIPES[name]
            rates = bench.rates(recipe, budget, given.rate)
            saes = bench.saes(recipe, budget)
            fvu = np.stack([bench.fvu("test", recipe, saes, *rates, seed) for seed in SEEDS], 1)
            plain = fvu if plain is None else plain
            row = {"budget": budget, "recipe": name, "rate": rates[0], "child_rate": rates[1]}
            row |= {"fvu": float(np.exp(np.log(fvu).mean()))}
            row |= cells("excess_fvu", excess(fvu, plain).interval())
            rows.append(row)
            print(row, flush=True)
            write_csv(given.output, rows)


if __name__ == "__main__":
    main()
