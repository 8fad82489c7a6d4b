"""Summarise the tasks of a model, and the circuits of every arm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clustersae.circuits.table import (
    CURVES,
    NODES,
    PROMPTS,
    circuits_table,
    curves_table,
    tasks_table,
)
from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_arms
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import log
from clustersae.runtime.files import read_json
from clustersae.statistics.intervals import Bootstrapping

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    records: Sequence[str],
    curves: Sequence[str],
    prompts: Sequence[str],
    nodes: Sequence[str],
    tasks_out: str,
    circuits_out: str,
    curves_out: str,
    arms: Sequence[Arm],
    n_bootstrap: int,
    seed: int,
    least_gap: float,
) -> None:
    """Write the three tables.

    Args:
        records: what `assess_task.py` wrote, for every task.
        curves, prompts, nodes: what `evaluate_circuits.py` wrote, for every measured
            arm and usable task.
        n_bootstrap, seed: resamples of every interval, and the seed that draws them.
        least_gap: smallest size of m(M) − m(∅) that circuits are measured by.
    """
    settings = Bootstrapping(n_bootstrap, seed)
    files = {"prompts": (prompts, PROMPTS), "nodes": (nodes, NODES), "curves": (curves, CURVES)}
    measured = {name: of_every_arm(read_files(*each), arms) for name, each in files.items()}
    write_table(tasks_table([read_json(path) for path in records]), tasks_out)
    circuits = circuits_table(arms, measured["prompts"], measured["nodes"], settings, least_gap)
    write_table(circuits, circuits_out)
    write_table(curves_table(arms, measured["curves"], circuits), curves_out)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        records=list(snakemake.input.tasks),
        curves=list(snakemake.input.curves),
        prompts=list(snakemake.input.prompts),
        nodes=list(snakemake.input.nodes),
        tasks_out=snakemake.output.tasks,
        circuits_out=snakemake.output.circuits,
        curves_out=snakemake.output.circuit_curves,
        arms=read_arms(
            snakemake.input.partitions,
            snakemake.params.asked,
            snakemake.input.chosen,
            snakemake.input.specialised,
        ),
        n_bootstrap=snakemake.params.n_bootstrap,
        seed=snakemake.params.seed,
        least_gap=snakemake.params.least_gap,
    )
