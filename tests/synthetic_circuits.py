"""Circuits of an invented experiment whose areas and deviations are known in closed form.

m(M) is 4 on every prompt, give or take what the prompt makes of it, and m(∅) 0. With h the arm's
handicap, which grows with the layers that an SAE serves, and with half a full training undone,

    faithfulness    1 / (1 + (10 (1 + h) / N)²)  at N nodes, less with the seed by 1 % each
    completeness    1 / (1 + (N / 5)²), the same for all arms
    all latents     m(M) (1 ∓ 0.1 (1 + h)), short on even prompts and beyond on odd ones

Random circuits need 50 times the nodes, dimensions of the stream 5 times; of the latter, all carry
everything. Prompt p scales everything by 1 + 0.2 sin p, and single prompts stray from the curves
to both sides, so that even numbers of prompts do not.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_results import Experiment, plan_of, written

from clustersae.circuits import tabulate
from clustersae.circuits.curves import log_sizes, log_weights
from clustersae.circuits.table import RESIDUAL_BASIS
from clustersae.experiment.arms import Arm
from clustersae.experiment.clusters import layers_of
from clustersae.runtime.files import write_csv, write_json

SIZES = log_sizes(600, 12)
FULL = 4.0
MIN_GAP = 0.5
MARGIN = 0.05
MODES = (
    *product(("none",), ("ablated", "nodes", "kept"), ("mean", "zero")),
    ("random", "ablated", "mean"),
)
TASKS = {"toy_agreement": 40, "toy_greater_than": 24, "toy_indirect_object": 32}


def handicap(arm: Arm) -> float:
    """What an arm's SAEs lack: 0 for the full per-layer SAEs."""
    widest = max(len(layers_of(name)) for _, name in arm.saes)
    return 0.2 * (widest - 1) + 0.3 * max(0.0, 1 - arm.matched_count / arm.count)


def curves_of(lack: float, factor: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Faithfulness and completeness at SIZES, [S] each."""
    nodes = np.asarray(SIZES) / factor
    faithfulness = (1 - 0.01 * seed) / (1 + (10 * (1 + lack) / nodes) ** 2)
    return faithfulness, 1 / (1 + (nodes / 5) ** 2)


class Circuits:
    """Writes every input of `circuits.tabulate` below `experiment.folder`.

    Args:
        tasks: number of test prompts of every task that the model can do.
        failed: tasks that it cannot do.
    """

    def __init__(
        self,
        experiment: Experiment,
        tasks: dict[str, int] | None = None,
        failed: Sequence[str] = ("toy_arithmetic",),
    ) -> None:
        self.experiment, self.tasks = experiment, TASKS if tasks is None else tasks
        self.paths: dict[str, list[Path]] = {
            name: [] for name in ("tasks", "curves", "prompts", "nodes")
        }
        for task in [*self.tasks, *failed]:
            self._write_task(task)
        for task, n_prompts in self.tasks.items():
            for arm in experiment.measured:
                self._write_arm(task, n_prompts, arm.variant, arm.partition, handicap(arm))
            self._write_arm(task, n_prompts, "base", RESIDUAL_BASIS, None)

    def _write_task(self, task: str) -> None:
        usable = task in self.tasks
        record = {
            **{"task": task, "n_tried": 100, "n_usable": 90, "n_train": 50},
            **{"n_test": self.tasks.get(task, 40), "lost": {"same answer": 7, "lengths": 3}},
            **{"accuracy": 0.95 if usable else 0.4, "logit_difference": FULL if usable else -0.5},
            **{"logit_difference_ablated": 0.0 if usable else None, "ablation": "mean"},
            **{"usable": usable, "reason": None if usable else "the model cannot do this task"},
        }
        path = self.experiment.folder / f"tasks/{task}/task.json"
        write_json(path, record)
        self.paths["tasks"].append(path)

    def _write_arm(
        self, task: str, n_prompts: int, variant: str, partition: str, lack: float | None
    ) -> None:
        folder = self.experiment.folder / f"evaluation/circuits/{task}/{variant}/{partition}"
        rows: dict[str, list[dict[str, Any]]] = {"curves": [], "prompts": [], "nodes": []}
        for seed in self.experiment.seeds if lack is not None else (0,):
            name = {"task": task, "variant": variant, "partition": partition, "seed": seed}
            for control, errors, ablation in MODES:
                mode = {"control": control, "errors": errors, "ablation": ablation}
                factor = (50 if control == "random" else 1) * (5 if lack is None else 1)
                curves = curves_of(lack or 0.0, factor, seed)
                for size, faithful, complete in zip(SIZES, *(each.tolist() for each in curves)):
                    measured = {"faithfulness": faithful, "completeness": complete}
                    rows["curves"].append({**name, **mode, "size": size, **measured})
                rows["prompts"] += [
                    {**name, **mode, **row} for row in self._prompts(n_prompts, curves, lack)
                ]
            rows["nodes"] += [{**name, **row} for row in self._nodes(lack is None)]
        for kind, table in rows.items():
            write_csv(folder / f"{kind}.csv", table)
            self.paths[kind].append(folder / f"{kind}.csv")

    @staticmethod
    def _prompts(
        n_prompts: int, curves: tuple[np.ndarray, np.ndarray], lack: float | None
    ) -> Iterator[dict[str, float]]:
        inside, outside = (float(log_weights(np.asarray(SIZES)) @ curve) for curve in curves)
        for prompt in range(n_prompts):
            full = FULL * (1 + 0.2 * np.sin(prompt))
            side = (-1) ** (prompt + 1)
            off = 0 if lack is None else 0.1 * (1 + lack) * side
            yield {
                **{"prompt": prompt, "group": prompt, "full": full, "empty": 0.0},
                **{
                    "circuit": full * inside + 0.8 * side,
                    "complement": full * outside - 0.5 * side,
                    # Faithfulness never overshoots here.
                    "distance": full * (1 - inside) - 0.8 * side,
                },
                "latents": full * (1 + off),
            }

    def _nodes(self, basis: bool) -> Iterator[dict[str, Any]]:
        """Effects fall with rank; the second node is an error; five are checked, and agree."""
        for rank in range(10):
            effect = -1 / (1 + rank)
            latent = None if rank == 1 and not basis else 3 * rank
            exact = 2 * effect - 0.1 if rank < 5 else None
            # None of the first nodes lies on the last layer.
            layer = rank % (self.experiment.n_layers - 1)
            yield {"rank": rank, "layer": layer, "latent": latent, "effect": effect, "exact": exact}


def write_circuit_tables(circuits: Circuits) -> dict[str, Path]:
    """Write the tables of `circuits.tabulate`; their paths by name."""
    made = tabulate.tables(
        plan_of(circuits.experiment),
        **{kind: circuits.paths[kind] for kind in ("tasks", "curves", "prompts", "nodes")},
        min_gap=MIN_GAP,
        margin=MARGIN,
        errors="ablated",
        ablation="mean",
    )
    made["circuit_distance"] = made.pop("distance")
    return written(circuits.experiment, made)
