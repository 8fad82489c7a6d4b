"""Say what the tables of one model answer: in a few lines, and at length."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clustersae.answer.verdict import verdict
from clustersae.circuits import text as circuits_text
from clustersae.experiment.arms import SINGLE
from clustersae.experiment.plan import read_plan
from clustersae.features import text as features_text
from clustersae.presentation.shown import chosen, shared, specialised
from clustersae.presentation.tables import read_file
from clustersae.presentation.words import paragraph
from clustersae.quality import text as quality_text
from clustersae.runtime import log
from clustersae.runtime.files import write_text

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    arms: str,
    comparisons: str,
    plan: str,
    circuits: Sequence[str],
    features: Sequence[str],
    output: str,
    long: str,
    margins: Mapping[str, float],
    errors: str,
    ablation: str,
) -> None:
    """Write the verdict from the tables of a model.

    Args:
        circuits: tasks.csv and circuits.csv, or nothing where no task was asked for.
        features: features.csv and feature_coverage.csv.
        output: the short form.
        long: paragraphs with every comparison.
        margins: that arms were chosen by.
        errors, ablation: of the circuits that are spoken of.
    """
    table = read_file(arms)
    best, tuned, common = chosen(table), specialised(table), shared(table)
    names = list(dict.fromkeys(arm["arm"] for arm in (best, tuned, common) if arm is not None))
    special = None if tuned is None else tuned["arm"]
    compared, auto = read_file(comparisons), read_plan(plan).auto
    lines, paragraphs = [], [quality_text.paragraphs(table, compared, auto)]
    if circuits:
        tasks, areas = (read_file(path) for path in circuits)
        excess = table.set_index("arm")["excess_fvu"].get(SINGLE)
        lines.append(circuits_text.line(areas, tasks, errors, ablation, names))
        said = circuits_text.circuits_sentence(areas, tasks, errors, ablation, excess, special)
        paragraphs.append(paragraph([said]))
    meaning, coverage = (read_file(path) for path in features)
    lines.append(features_text.line(meaning, special))
    paragraphs.append(paragraph([features_text.features_sentence(meaning, coverage, special)]))
    lines.append(quality_text.caveats(table))
    write_text(output, verdict(table, margins, lines))
    write_text(long, "\n".join(paragraphs))


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        arms=snakemake.input.arms,
        comparisons=snakemake.input.comparisons,
        plan=snakemake.input.plan,
        circuits=list(snakemake.input.circuits),
        features=list(snakemake.input.features),
        output=snakemake.output.short,
        long=snakemake.output.long,
        margins=snakemake.params.margins,
        errors=snakemake.params.errors,
        ablation=snakemake.params.ablation,
    )
