"""Summarise the tasks of a model, and the circuits of every arm."""

from collections.abc import Sequence

from clustersae.circuits.needed import with_nodes_needed
from clustersae.circuits.summary import of_mode
from clustersae.circuits.table import (
    ALL_TASKS,
    CURVES,
    NODES,
    PROMPTS,
    circuits_table,
    curves_table,
    distances,
    tasks_table,
)
from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import job
from clustersae.runtime.files import read_json


def main(
    records: Sequence[str],
    curves: Sequence[str],
    prompts: Sequence[str],
    nodes: Sequence[str],
    tasks_out: str,
    circuits_out: str,
    curves_out: str,
    distance_out: str,
    arms: Sequence[Arm],
    min_gap: float,
    margin: float,
    errors: str,
    ablation: str,
) -> None:
    """Write the four tables.

    Args:
        records: what `assess_task.py` wrote, for every task.
        curves, prompts, nodes: what `evaluate_circuits.py` wrote, for every measured
            arm and usable task.
        min_gap: smallest size of m(M) − m(∅) that circuits are measured by.
        margin: largest difference of the distance of faithfulness from 1 that does not matter.
        errors, ablation: the mode that the fourth, of distances, is about.
    """
    files = {"prompts": (prompts, PROMPTS), "nodes": (nodes, NODES), "curves": (curves, CURVES)}
    measured = {name: of_every_arm(read_files(*each), arms) for name, each in files.items()}
    write_table(tasks_table([read_json(path) for path in records]), tasks_out)
    circuits = circuits_table(arms, measured["prompts"], measured["nodes"], min_gap, margin)
    circuits = with_nodes_needed(circuits, measured["curves"], arms, ALL_TASKS)
    write_table(circuits, circuits_out)
    write_table(curves_table(arms, measured["curves"], circuits), curves_out)
    write_table(distances(of_mode(circuits, errors, ablation)), distance_out)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        records=list(snakemake.input.tasks),
        curves=list(snakemake.input.curves),
        prompts=list(snakemake.input.prompts),
        nodes=list(snakemake.input.nodes),
        tasks_out=snakemake.output.tasks,
        circuits_out=snakemake.output.circuits,
        curves_out=snakemake.output.circuit_curves,
        distance_out=snakemake.output.distance,
        arms=read_plan(snakemake.input.plan).coded_arms,
        min_gap=snakemake.params.min_gap,
        margin=snakemake.params.margin,
        errors=snakemake.params.errors,
        ablation=snakemake.params.ablation,
    )
