"""Files about the latents of an invented experiment whose means are known in closed form.

With n the layers of a latent's group, i and j layers of L, s the seed, u the part of a full
per-layer training that an arm goes without, and h = 1/2 for specialised SAEs, 1 for others:

    rules         0.9 − 0.1 i / L − 0.005 s − 0.1 (n − 1) / L on their own layer i; on layer j less
                  by 0.2 |i − j| / L, and by 0.02 between specialised SAEs; 0.5 on a random latent;
                  the latents that fire on two layers have rules better by 0.01 on their own
    kept          15 − 2 min(n, 6) of 20 + s latents, and 2 less of specialised SAEs; of as many
                  rules on every pair of layers, 4 more
    spread        of 40 latents every tenth is dead; the even ones are spread evenly over the
                  group, the odd ones are at home on one layer
    similarity    0.8 − 0.1 i / L − 0.01 s between per-layer SAEs (ceiling), for an arm less by
                  0.3 h (n − 1) / L + 0.1 u, 0.2 at random; matched one to one all is 0.1 lower
    sweep         of the pairs of layers of kept, the same whatever is asked for
    coverage      0.9 − 0.02 v − 0.01 s for the v-th value of a factor, less what the arm loses,
                  0.2 h (m − 1) / L + 0.02 u with m the mean of n over layers, times the factor's
                  LOSES
    judge         0.8 − 0.1 n / L on the own layer, 0.05 less on another; fuzzing 0.1 lower
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from synthetic_results import Experiment, plan_of, written

from clustersae.experiment.arms import Arm, baseline
from clustersae.experiment.clusters import FROM, layers_of
from clustersae.features import tabulate
from clustersae.features.judge.scoring import COLUMNS
from clustersae.features.sweep import SWEEP
from clustersae.runtime.files import write_csv

N_LATENTS = 40
#: Factor → number of its values, and how much an arm loses on it.
FACTORS = {"number": 2, "tense": 2, "subject": 6}
LOSES = {"number": 1.0, "tense": 0.0, "subject": 2.0}
KINDS = ("latents", "layers", "meaning", "kept", "similarity", "coverage", "sweep", "judge")
#: Columns of files that may have no rows.
EMPTY = {
    "coverage": ("variant", "partition", "seed", "factor", "value", "n_positive", "f1"),
    "sweep": (*SWEEP.key, *SWEEP.values),
}


def groups_of(arm: Arm) -> dict[str, tuple[int, ...]]:
    """The layers of every group of an arm's latents, by name."""
    roots = {name.rpartition(FROM)[2]: FROM in name for _, name in arm.saes}
    return {FROM * is_root + root: layers_of(root) for root, is_root in roots.items()}


def undone(arm: Arm) -> float:
    return max(0.0, 1 - arm.matched_count / arm.count)


def halved(arm: Arm) -> float:
    return 0.5 if arm.role == "specialised" else 1.0


class Truth:
    """The closed forms, for a model of `n_layers` layers."""

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers

    def rule(self, arm: Arm, n: int, layer: int, other: int, seed: int) -> float:
        own = 0.9 - 0.005 * seed - 0.1 * (layer + n - 1) / self.n_layers
        drifted = 0.02 if arm.role == "specialised" and layer != other else 0.0
        return own - 0.2 * abs(layer - other) / self.n_layers - drifted

    def kept(self, arm: Arm, n: int) -> int:
        return 15 - 2 * min(n, 6) - 2 * (arm.role == "specialised")

    def cosine(self, arm: Arm, n: int, layer: int, seed: int) -> float:
        lost = 0.3 * halved(arm) * (n - 1) / self.n_layers + 0.1 * undone(arm)
        return 0.8 - 0.1 * layer / self.n_layers - 0.01 * seed - lost

    def f1(self, arm: Arm, factor: str, value: int, seed: int) -> float:
        groups = groups_of(arm).values()
        mean = sum(len(group) ** 2 for group in groups) / self.n_layers
        lost = 0.2 * halved(arm) * (mean - 1) / self.n_layers + 0.02 * undone(arm)
        return 0.9 - 0.02 * value - 0.01 * seed - LOSES[factor] * lost

    def detection(self, n: int, own: bool) -> float:
        return 0.8 - 0.1 * n / self.n_layers - 0.05 * (not own)


class Features:
    """Writes every input of `features.tabulate` below `experiment.folder`.

    Args:
        factors: number of values of every factor; none for text without known factors.
        judged: whether a judge was asked.
    """

    def __init__(
        self, experiment: Experiment, factors: dict[str, int] = FACTORS, judged: bool = False
    ) -> None:
        self.experiment, self.factors = experiment, factors
        self.truth = Truth(experiment.n_layers)
        self.paths: dict[str, list[Path]] = {kind: [] for kind in KINDS}
        for arm in experiment.measured:
            self._write_latents(arm)
            self._write("meaning", arm, self._meaning(arm))
            self._write("kept", arm, self._kept(arm))
            self._write("similarity", arm, self._similarity(arm))
            self._write("coverage", arm, self._coverage(arm))
            self._write("sweep", arm, self._sweep(arm))
            if judged:
                self._write("judge", arm, self._judge(arm))

    def _write(self, kind: str, arm: Arm, rows: Iterator[dict[str, Any]]) -> None:
        path = self._path(kind, arm, "csv")
        named = [self._label(arm) | row for row in rows]
        if named:
            write_csv(path, named)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(",".join(EMPTY[kind]) + "\n")

    def _path(self, kind: str, arm: Arm, end: str) -> Path:
        folder = self.experiment.folder / "evaluation/features"
        path = folder / arm.variant / arm.partition / f"{kind}.{end}"
        self.paths[kind].append(path)
        return path

    @staticmethod
    def _label(arm: Arm) -> dict[str, Any]:
        return {"variant": arm.variant, "partition": arm.partition}

    def _by_group(self, arm: Arm) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        for seed, (name, layers) in product(self.experiment.seeds, groups_of(arm).items()):
            yield seed, name, layers

    def _write_latents(self, arm: Arm) -> None:
        latents, layers = [], []
        for seed, name, served in self._by_group(arm):
            for latent in range(N_LATENTS):
                group = self._label(arm) | {"seed": seed, "group": name}
                n, dead, even = len(served), latent % 10 == 9, latent % 2 == 0
                share = np.full(n, 1 / n) if even else np.eye(n)[latent // 2 % n]
                variance = (n * n - 1) / 12 if even else 0.0
                row = {"n_layers": n, "latent": latent, "firing_rate": 0.0 if dead else 0.01}
                row["entropy"] = np.nan if dead else np.log(n) if even else 0.0
                row["effective_layers"] = np.exp(row["entropy"])
                row["within_token_variance"] = np.nan if dead or n == 1 else variance / 4
                row["over_token_variance"] = np.nan if dead or n == 1 else variance
                latents.append(group | row)
                layers += [
                    group
                    | {"latent": latent, "layer": layer, "p_layer": np.nan if dead else p_layer}
                    for layer, p_layer in zip(served, share)
                ]
        for kind, rows in (("latents", latents), ("layers", layers)):
            path = self._path(kind, arm, "parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).astype({"group": "category"}).to_parquet(path)

    def _meaning(self, arm: Arm) -> Iterator[dict[str, Any]]:
        for seed, name, served in self._by_group(arm):
            for layer, other in product(served, repeat=2):
                accuracy = self.truth.rule(arm, len(served), layer, other, seed)
                yield {
                    **{"seed": seed, "group": name, "layer": layer, "other_layer": other},
                    **{"n_latents": 20 + seed, "balanced_accuracy": accuracy, "floor": 0.5},
                    "ceiling": self.truth.rule(arm, len(served), layer, layer, seed)
                    + 0.01 * (layer != other),
                }

    def _kept(self, arm: Arm) -> Iterator[dict[str, Any]]:
        for seed, name, served in self._by_group(arm):
            n, explained = len(served), 20 + seed
            kept, n_pairs = self.truth.kept(arm, n), n * (n - 1)
            counts = {"n_kept": kept, "share_kept": kept / explained}
            counts |= {"n_pairs": explained * n_pairs, "n_pairs_kept": (kept + 4) * n_pairs}
            yield {
                **{"seed": seed, "group": name, "n_layers": n, "n_explained": explained},
                **(counts if n > 1 else dict.fromkeys(counts, "")),
            }

    def _sweep(self, arm: Arm) -> Iterator[dict[str, Any]]:
        for row in self._kept(arm):
            if row["n_layers"] > 1:
                own = {name: row[name] for name in ("seed", "group", *SWEEP.values)}
                yield own | {"pairing": "index", "share": 0.5}

    def _similarity(self, arm: Arm) -> Iterator[dict[str, Any]]:
        seeds, alone = self.experiment.seeds, baseline(self.experiment.arms)
        for number, seed in enumerate(seeds):
            other = seeds[(number + 1) % len(seeds)]
            for layers in groups_of(arm).values():
                for layer in layers:
                    values = {
                        "arm": self.truth.cosine(arm, len(layers), layer, seed),
                        "ceiling": self.truth.cosine(alone, 1, layer, seed),
                        "floor": 0.2,
                    }
                    if other == seed:
                        values["ceiling"] = 1.0
                        values["arm"] = 1.0 if arm.role == "baseline" else values["arm"] + 0.1
                    for kind, value in values.items():
                        yield {
                            **{"seed": seed, "layer": layer, "kind": kind, "other_seed": other},
                            **{"mean_max_cosine": value, "matched_cosine": value - 0.1},
                            **{"matching": "hungarian", "n_latents": 36},
                        }

    def _coverage(self, arm: Arm) -> Iterator[dict[str, Any]]:
        for seed, factor in product(self.experiment.seeds, self.factors):
            for value in range(self.factors[factor]):
                yield {
                    **{"seed": seed, "factor": factor, "value": value, "n_positive": 100 + value},
                    "f1": self.truth.f1(arm, factor, value, seed),
                }

    def _judge(self, arm: Arm) -> Iterator[dict[str, Any]]:
        """Two latents of every group, of which the second is not answered for once."""
        for seed, name, served in self._by_group(arm):
            for latent, layer, kind in product((3, 4), served, ("detection", "fuzzing")):
                score = self.truth.detection(len(served), layer == served[0])
                score -= 0.1 * (kind == "fuzzing")
                answered = latent == 3 or layer != served[0]
                row = {
                    **{"seed": seed, "cluster": name, "latent": latent, "layer": layer},
                    **{"explained_on": served[0], "kind": kind, "n_examples": 10},
                    **{"n_unanswered": 0 if answered else 10, "explanation": "a word, or none"},
                    "balanced_accuracy": score if answered else "",
                }
                yield {name: row[name] for name in COLUMNS if name in row}


def write_feature_tables(features: Features) -> dict[str, Path]:
    """Write the tables of `features.tabulate`; their paths by name."""
    made = tabulate.tables(
        plan_of(features.experiment), **{kind: features.paths[kind] for kind in KINDS}
    )
    names = {name: f"feature_{name}" for name in made} | {"features": "features"}
    return written(features.experiment, {names[name]: table for name, table in made.items()})
