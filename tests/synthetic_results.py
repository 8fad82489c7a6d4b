"""Evaluation files of an invented experiment whose answers are known in closed form.

FVU of a cluster's SAE on layer l and seed s is

    (0.05 + 0.3 (l + 1) / L) (1 + spread (n - 1)) (1 + 0.01 s) scale

with n the cluster's number of layers: every layer of an n-layer cluster loses spread (n - 1)
relative to its own SAE, for every seed alike. `scale` is 1.03 for fewer tokens, 0.98 for more,
1.06 for narrower SAEs, 0.99 for equal exposure of several layers and 1.01 for SAEs that started
from another. An SAE takes 100 s + its seed, times its share of a full training; caching 50 s.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.experiment.clusters import FROM, VIA, cluster_name, layers_of
from clustersae.experiment.planning import make_plan
from clustersae.experiment.variants import EQUAL_EXPOSURE, kind_of, share_of, variant_scales
from clustersae.presentation.tables import write_table
from clustersae.quality import tabulate
from clustersae.runtime.files import write_csv, write_json

CACHING_SECONDS = 50.0
CE_CLEAN = 1.5
MARGINS = {"mean": 0.12, "worst": 0.12, "faithfulness": 0.05}


def scale(variant: str) -> float:
    if FROM in variant:
        return 1.01
    if VIA in variant:
        return 1.02
    kind, share = kind_of(variant), share_of(variant)
    if kind == "tokens":
        return 1.03 if share < 1 else 0.98
    others = {EQUAL_EXPOSURE: 0.99, "mlsae": 0.98, "crosscoder": 0.97}
    return {"base": 1.0, "narrower": 1.06, **others}[kind]


def fvu(variant: str, name: str, layer: int, seed: int, n_layers: int, spread: float) -> float:
    n = len(layers_of(name))
    alone = 0.05 + 0.3 * (layer + 1) / n_layers
    return alone * (1 + spread * (n - 1)) * (1 + 0.01 * seed) * scale(variant)


def runs(n_layers: int, count: int, shift: int = 0) -> list[str]:
    """Contiguous clusters of nearly equal size, the first ones larger by `shift` layers."""
    cuts = np.linspace(0, n_layers, count + 1).round().astype(int)
    for i in range(1, count):
        cuts[i] = min(cuts[i] + shift, n_layers - (count - i))
    return [cluster_name(range(a, b)) for a, b in pairwise(cuts)]


class Experiment:
    """Writes every input of `quality.tabulate` below `folder` and keeps their paths.

    Args:
        variants: also equal compute and equal exposure at every K of `counts`.
        specialise: numbers of clusters (1 or of `counts`) that specialised arms start from.
        budgets: of the specialised arms.
        lengths: of further per-layer SAEs.
        rivals: budgets of transfers in both directions, multi-layer SAEs and crosscoders.
    """

    def __init__(
        self,
        folder: Path,
        n_layers: int = 6,
        seeds: Sequence[int] = (0, 1, 2),
        counts: Sequence[int] = (2, 3, 4, 5),
        spread: float = 0.05,
        noise: float = 0.0,
        variants: bool = True,
        controls: bool = True,
        splice: bool = True,
        specialise: Sequence[int] = (),
        budgets: Sequence[float] = (0.5,),
        lengths: Sequence[float] = (),
        rivals: Sequence[float] = (),
    ) -> None:
        self.folder, self.n_layers, self.seeds, self.spread = folder, n_layers, seeds, spread
        self.noise, self.generator = noise, np.random.default_rng(0)
        self.partitions = self._partitions(counts, controls)
        self.description = {
            "n_layers": n_layers,
            "layers": list(range(n_layers)),
            "distance": "angular_centred",
            "order": list(self.partitions),
            "partitions": self.partitions,
        }
        shares = [count / n_layers for count in counts] if variants else []
        self.settings = {
            "arms": {
                "per_layer": [1, *shares, *lengths],
                "narrower": shares,
                "shared": {"counts": [1, *counts], "methods": ["complete"]},
                "equal_exposure": list(counts) if variants else [],
                "specialised": [{"from": root, "budgets": list(budgets)} for root in specialise],
                "transfer": {"directions": ["forwards", "backwards"], "budgets": list(rivals)},
                "mlsae": list(rivals),
                "crosscoder": {"counts": [1], "budgets": list(rivals)},
                "controls": {
                    "methods": ["even", "random"],
                    "counts": list(counts) if controls else [],
                    "draws": 1,
                },
            },
            "sae": {
                **{"seeds": list(seeds), "training_tokens": 10**6, "batch_size": 512},
                **{"min_steps": 0, "specialise": {"shared_fraction": 0.5}},
            },
        }
        plan = make_plan(self.description, self.settings)
        self.arms: list[Arm] = list(plan.arms)
        self.saes, evaluated = plan.trained_saes, set(plan.evaluated_saes)
        self.paths: dict[str, Any] = {
            name: [] for name in ("reconstruction", "layers", "all", "density", "history")
        }
        self._write_clusters()
        spliced = {}
        for variant, name in self.saes:
            self._write_history(variant, name)
            if (variant, name) in evaluated:
                spliced[variant, name] = self._write_sae(variant, name)
        pairs = plan.measured_arms
        #: Those that are measured: none of the same SAEs as another.
        self.measured = [arm for arm in self.arms if (arm.variant, arm.partition) in pairs]
        for arm in self.measured if splice else []:
            rows = [row | {"partition": arm.partition} for sae in arm.saes for row in spliced[sae]]
            self._write(
                "layers", f"evaluation/splice/{arm.variant}/{arm.partition}/layers.csv", rows
            )
            if arm.variant == "base" or arm.role == "specialised":
                self._write_all_layers(arm)
        self._write_cost()
        self.stream_file = self.folder / "activations/stream.csv"
        write_csv(self.stream_file, [stream_row(layer) for layer in range(n_layers)])

    def _partitions(self, counts: Sequence[int], controls: bool) -> dict[str, dict[str, Any]]:
        L = self.n_layers
        made = {"single": ("single", runs(L, 1))}
        for count in counts:
            made[f"complete-{count}"] = ("complete", runs(L, count))
            if controls:
                made[f"even-{count}"] = ("even", runs(L, count, 1))
                made[f"random-{count}"] = ("random", runs(L, count, 2))
        made["per-layer"] = ("per-layer", runs(L, L))
        return {
            name: {
                "method": method,
                "count": len(clusters),
                "clusters": clusters,
                "cut_height": None,
                "amad": 0.1,
                "weighted_mean_distance": 0.1,
                "max_distance": 0.2,
            }
            for name, (method, clusters) in made.items()
        }

    def _noisy(self) -> float:
        return float(np.exp(self.noise * self.generator.standard_normal()))

    def _write(self, kind: str, path: str, rows: list[dict[str, Any]]) -> None:
        target = self.folder / path
        write_csv(target, rows)
        self.paths[kind].append(target)

    def _write_clusters(self) -> None:
        L = self.n_layers
        self.partitions_file = self.folder / "clusters/partitions.json"
        self.distances_file = self.folder / "clusters/distances.csv"
        write_json(self.partitions_file, self.description)
        depth = np.cumsum(0.05 + 0.08 * self.generator.random(L))
        rows = [
            {"distance": name, "layer_i": i, "layer_j": j, "value": factor * d / (1 + d)}
            for name, factor in (("angular", 0.4), ("angular_centred", 0.5), ("cka", 0.6))
            for i in range(L)
            for j in range(L)
            for d in [abs(depth[i] - depth[j])]
        ]
        pd.DataFrame(rows).to_csv(self.distances_file, index=False)

    def _write_sae(self, variant: str, cluster: str) -> list[dict[str, Any]]:
        """Returns what the model loses with the SAE spliced in, one row per seed and layer."""
        quality, spliced, density = [], [], []
        for seed in self.seeds:
            name = {"variant": variant, "cluster": cluster, "seed": seed}
            for layer in layers_of(cluster):
                value = fvu(variant, cluster, layer, seed, self.n_layers, self.spread)
                value *= self._noisy()
                for split in ("validation", "test"):
                    quality.append(
                        {
                            **name,
                            "layer": layer,
                            "split": split,
                            "n_tokens": 1000,
                            "fvu": value,
                            "fvu_all_tokens": value / 2,
                            "fvu_standardised": 1.5 * value,
                            "mse": 2 * value,
                            "cosine": 1 - value / 2,
                            "l0": 32.0,
                            "dead_fraction": 0.02 + 0.01 * layer / self.n_layers,
                            "ultra_low_density_fraction": 0.05,
                            "n_tokens_dead": 2000,
                        }
                    )
                spliced.append({**name, "layer": layer, **_ce(0.3 * value)})
                density += self._density(name, layer)
        self._write("reconstruction", f"evaluation/reconstruction/{variant}/{cluster}.csv", quality)
        self._write("density", f"evaluation/density/{variant}/{cluster}.csv", density)
        return spliced

    def _density(self, name: dict[str, Any], layer: int) -> list[dict[str, Any]]:
        edges = np.arange(-5, 0.01, 0.25)
        centre = -1.6 - 0.6 * layer / self.n_layers
        logs = centre + 0.6 * self.generator.standard_normal(980)
        counts, _ = np.histogram(logs.clip(-4.99, -0.01), edges)
        shared = {**name, "layer": layer}
        ends = zip(edges[:-1], edges[1:], counts)
        rows = [
            {
                **shared,
                "kind": "live",
                "log10_density_low": low,
                "log10_density_high": high,
                "n_latents": int(count),
            }
            for low, high, count in ends
        ]
        dead = {"kind": "dead", "log10_density_low": "", "log10_density_high": ""}
        return [*rows, {**shared, **dead, "n_latents": 20 + layer}]

    def _write_history(self, variant: str, cluster: str) -> None:
        steps = np.unique(np.geomspace(1, 2000, 40).astype(int))
        last = layers_of(cluster)[-1]
        for seed in self.seeds:
            final = fvu(variant, cluster, last, seed, self.n_layers, self.spread)
            rows = [
                {
                    "step": int(step),
                    "activations": int(step) * 512,
                    "fvu": final * (1 + 3 / (1 + step / 20)) * self._noisy(),
                    "l0": 32.0,
                    "dead_fraction": 0.05 * float(np.exp(-step / 500)),
                    "learning_rate": 2e-4,
                    "activations_per_second": 1e5,
                }
                for step in steps
            ]
            self._write("history", f"saes/{variant}/{cluster}/seed-{seed}/history.csv", rows)

    def _write_all_layers(self, arm: Arm) -> None:
        extra = 0.02 * (self.n_layers - arm.count) + 0.01 * (arm.role == "specialised")
        place = {"variant": arm.variant, "partition": arm.partition}
        rows = [
            {
                **place,
                "seed": seed,
                **_ce(0.4 + extra + 0.01 * seed),
                "ce_spliced_bounded": CE_CLEAN + 0.3 + extra + 0.02 * seed,
            }
            for seed in self.seeds
        ]
        self._write("all", f"evaluation/splice/{arm.variant}/{arm.partition}/all.csv", rows)

    def _write_cost(self) -> None:
        rows = [
            {
                "kind": "caching",
                "seconds": CACHING_SECONDS / 2,
                "job_seconds": 30.0,
                "tuning_seconds": "",
                "tuning_flops": "",
                "peak_memory_mb": 900.0,
                "peak_gpu_memory_mb": "",
                "flops": 1e12,
                "n_tokens": 500,
                "tokens_reached": "",
                "activations": 500,
                "device": "cpu",
            }
        ] * 2
        for variant, cluster in self.saes:
            tokens, width = variant_scales(variant, len(layers_of(cluster)))
            budget = tokens * width
            rows += [
                {
                    "kind": "sae",
                    "variant": variant,
                    "cluster": cluster,
                    "seed": seed,
                    "seconds": (100.0 + seed) * budget,
                    "job_seconds": 110.0 * budget,
                    "tuning_seconds": 0.0,
                    "tuning_flops": 0.0,
                    "peak_memory_mb": 700.0,
                    "peak_gpu_memory_mb": "",
                    "flops": 5e12 * budget,
                    "activations": 1000 * budget,
                    "n_tokens": "",
                    "tokens_reached": 1000,
                    "device": "cpu",
                }
                for seed in self.seeds
            ]
        self.cost_file = self.folder / "evaluation/cost.csv"
        pd.DataFrame(rows).to_csv(self.cost_file, index=False)


def stream_row(layer: int, **changes: float) -> dict[str, float]:
    """A layer of which nothing special is to be said: BOS is left out, nothing else."""
    counts = {"n_tokens": 1000, "n_special": 50, "n_first": 0, "n_norm": 0}
    norms = {"median_norm": 10.0, "max_norm": 100.0, "mean_norm": 11.0, "scale": 1.0}
    dimension = {"largest_dimension": 3, "largest_dimension_share": 0.1, "ten_tokens_share": 0.02}
    left = {"left_out_share": 0.01, "special_share": 0.01, "first_share": 0.0, "norm_share": 0.0}
    row = {"layer": layer, **counts, **norms, **dimension, **left, "rounding_share": 0.0}
    return row | changes


def _ce(delta: float) -> dict[str, float]:
    return {
        "ce_clean": CE_CLEAN,
        "ce_spliced": CE_CLEAN + delta,
        "delta_ce": delta,
        "ce_recovered_zero": 1 - delta / 4,
        "ce_recovered_mean": 1 - delta / 3,
        "kl": 0.9 * delta,
        "n_tokens": 1000,
    }


def write_tables(
    experiment: Experiment, margins: Mapping[str, float] = MARGINS, **changes: Any
) -> dict[str, Path]:
    """Write the tables of `quality.tabulate`; their paths by name.

    Args:
        changes: of what they are made from.
    """
    measured = {
        "plan": plan_of(experiment),
        "reconstruction": experiment.paths["reconstruction"],
        "layer_splice": experiment.paths["layers"],
        "partition_splice": experiment.paths["all"],
        "density": experiment.paths["density"],
        "histories": experiment.paths["history"],
        "cost": experiment.cost_file,
        "stream": experiment.stream_file,
        "margins": margins,
    }
    return written(experiment, tabulate.tables(**(measured | changes)))


def plan_of(experiment: Experiment, auto: Mapping[str, Any] | None = None) -> Any:
    """What tables ask a plan for."""
    return SimpleNamespace(arms=experiment.arms, coded_arms=experiment.arms, auto=auto)


def written(experiment: Experiment, made: Mapping[str, pd.DataFrame]) -> dict[str, Path]:
    """Write tables below the experiment's folder; their paths by name."""
    paths = {name: experiment.folder / f"tables/{name}.csv" for name in made}
    for name, path in paths.items():
        write_table(made[name], path)
    return paths
