"""Circuits of one task in one arm's SAEs: how much of the behaviour they carry, every seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clustersae.circuits.affordable import settled
from clustersae.circuits.dictionaries import Dictionaries, dictionaries_of, residual_basis
from clustersae.circuits.measuring import CircuitSettings, Measured, measure_circuits
from clustersae.circuits.storage import load_recordings
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime import device, job
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import by_seed, load_sae


def main(
    model_dir: Path,
    recordings: Path,
    saes: list[Path],
    task: str,
    variant: str,
    partition: str,
    outputs: Sequence[Path],
    settings: Mapping[str, Any],
    where: torch.device,
) -> None:
    """Write the curves, what areas are made of, and the first nodes: one CSV each.

    Args:
        recordings: of the task, by `assess_task.py`.
        saes: folders of the SAEs that serve the layers in this arm, every seed of each; none for
            the control without SAEs, the residual stream's own basis.
        outputs: paths of the three files, in the order of `Measured`.
        settings: of `CircuitSettings`; None: what the size of the model affords.
    """
    description = read_description(model_dir)
    recorded, runs = load_recordings(recordings, description.fingerprint, where)
    stream = ResidualStream(load_model(model_dir, description, where), description)
    settled_settings = CircuitSettings(
        **settled(settings, description.n_layers, description.d_model)
    )

    def measured(seed: int, folders: Sequence[Path]) -> Measured:
        """Of one seed, whose SAEs are let go at the end."""
        dictionaries: Dictionaries = dictionaries_of(
            [load_sae(folder, where, description.fingerprint) for folder in folders]
        )
        if not folders:
            dictionaries = residual_basis(list(recorded[0].clean), description.d_model, where)
        return measure_circuits(stream, dictionaries, recorded, runs, settled_settings, seed)

    rows: list[list[dict[str, Any]]] = [[], [], []]
    for seed, folders in (by_seed(saes) or {0: []}).items():
        arm = {"task": task, "variant": variant, "partition": partition, "seed": seed}
        for table, measured_rows in zip(rows, measured(seed, folders)):
            table.extend(arm | row for row in measured_rows)
    for path, found in zip(outputs, rows, strict=True):
        write_csv(path, found)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        recordings=Path(snakemake.input.recordings),
        saes=[Path(path).parent for path in snakemake.input.saes],
        task=snakemake.wildcards.task,
        variant=snakemake.params.variant,
        partition=snakemake.params.partition,
        outputs=[
            Path(snakemake.output.curves),
            Path(snakemake.output.prompts),
            Path(snakemake.output.nodes),
        ],
        settings=snakemake.params.settings,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
