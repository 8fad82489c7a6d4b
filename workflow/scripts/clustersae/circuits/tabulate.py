"""The tasks of a model, and the circuits of every arm."""

from collections.abc import Sequence

import pandas as pd

from clustersae.circuits.needed import with_nodes_needed
from clustersae.circuits.summary import of_mode
from clustersae.circuits.table import (
    CURVES,
    NODES,
    PROMPTS,
    circuits_table,
    curves_table,
    distances,
    tasks_table,
)
from clustersae.experiment.plan import Plan
from clustersae.experiment.tasks import ALL_TASKS
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files
from clustersae.runtime.files import read_json


def tables(
    plan: Plan,
    tasks: Sequence[str],
    curves: Sequence[str],
    prompts: Sequence[str],
    nodes: Sequence[str],
    min_gap: float,
    margin: float,
    errors: str,
    ablation: str,
) -> dict[str, pd.DataFrame]:
    """Tasks, circuits, their curves, and one distance per arm.

    Args:
        tasks: what `assess_task.py` wrote, for every task.
        curves, prompts, nodes: what `evaluate_circuits.py` wrote, for every measured
            arm and usable task.
        min_gap: smallest size of m(M) − m(∅) that circuits are measured by.
        margin: largest difference of the distance of faithfulness from 1 that does not matter.
        errors, ablation: the mode that the distance is of.
    """
    arms = plan.coded_arms
    points = of_every_arm(read_files(curves, CURVES), arms)
    circuits = circuits_table(
        arms,
        of_every_arm(read_files(prompts, PROMPTS), arms),
        of_every_arm(read_files(nodes, NODES), arms),
        min_gap,
        margin,
    )
    circuits = with_nodes_needed(circuits, points, arms, ALL_TASKS)
    return {
        "tasks": tasks_table([read_json(path) for path in tasks]),
        "circuits": circuits,
        "circuit_curves": curves_table(arms, points, circuits),
        "distance": distances(of_mode(circuits, errors, ablation)),
    }
