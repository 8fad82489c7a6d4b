"""Say what the tables of one model answer, in a few paragraphs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clustersae.answer.verdict import verdict
from clustersae.circuits.text import circuits_sentence
from clustersae.experiment.arms import SINGLE
from clustersae.experiment.plan import read_choices
from clustersae.features.text import features_sentence
from clustersae.presentation.tables import read_file
from clustersae.presentation.words import paragraph
from clustersae.runtime import log
from clustersae.runtime.files import read_json, write_text

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    arms: str,
    comparisons: str,
    partitions: str,
    circuits: Sequence[str],
    features: Sequence[str],
    output: str,
    tolerance: float,
    errors: str,
    ablation: str,
    pilot: Mapping[str, Any] | None = None,
    specialised_pilot: Mapping[str, Any] | None = None,
) -> None:
    """Write the verdict from the tables of a model.

    Args:
        circuits: tasks.csv and circuits.csv, or nothing where no task was asked for.
        features: features.csv and feature_coverage.csv.
        tolerance: relative excess FVU that K was chosen by.
        errors, ablation: of the circuits that are spoken of.
        pilot: what `choose_count.py` wrote, where K was chosen by pilots.
        specialised_pilot: what `choose_specialised.py` wrote, where pilots chose roots and budget.
    """
    summary = read_file(arms)
    text = verdict(
        summary,
        read_file(comparisons),
        read_json(partitions)["partitions"],
        tolerance,
        pilot,
        specialised_pilot=specialised_pilot,
    )
    shown = specialised_arm(summary, tolerance)
    specialised = None if shown is None else shown["arm"]
    if circuits:
        tasks, areas = (read_file(path) for path in circuits)
        excess = summary.set_index("arm")["excess_fvu"].get(SINGLE)
        said = circuits_sentence(areas, tasks, errors, ablation, excess, specialised)
        text += "\n" + paragraph([said])
    meaning, coverage = (read_file(path) for path in features)
    text += "\n" + paragraph([features_sentence(meaning, coverage, specialised)])
    write_text(output, text)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    pilots = read_choices(snakemake.input.chosen, snakemake.input.specialised)
    main(
        arms=snakemake.input.arms,
        comparisons=snakemake.input.comparisons,
        partitions=snakemake.input.partitions,
        circuits=list(snakemake.input.circuits),
        features=list(snakemake.input.features),
        output=snakemake.output[0],
        tolerance=snakemake.params.tolerance,
        errors=snakemake.params.errors,
        ablation=snakemake.params.ablation,
        pilot=pilots[0],
        specialised_pilot=pilots[1],
    )
