"""Summarise what the latents of every arm mean."""

from collections.abc import Sequence

from clustersae.experiment.arms import Arm
from clustersae.experiment.plan import read_plan
from clustersae.features.sweep import SWEEP, sweep_table
from clustersae.features.table import (
    COVERAGE,
    JUDGE,
    KEPT,
    MEANING,
    SIMILARITY,
    Measured,
    coverage_table,
    features_table,
    meaning_table,
)
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files, write_table
from clustersae.runtime import job
from clustersae.statistics.spread import spread_by_group


def main(
    latents: Sequence[str],
    layers: Sequence[str],
    meaning: Sequence[str],
    kept: Sequence[str],
    similarity: Sequence[str],
    coverage: Sequence[str],
    sweep: Sequence[str],
    judge: Sequence[str],
    features_out: str,
    meaning_out: str,
    coverage_out: str,
    sweep_out: str,
    arms: Sequence[Arm],
) -> None:
    """Write the four tables.

    Args:
        latents, layers, meaning, kept, similarity, coverage, sweep: what `evaluate_features.py`
            wrote, for every measured arm, the first two in one order.
        judge: what `judge_features.py` wrote, for every measured arm; nothing where
            nobody was asked.
    """
    # A group of one layer is called by its number, which must stay text.
    frames = {
        "spread": spread_by_group(latents, layers),
        "meaning": read_files(meaning, MEANING).astype({"group": str}),
        "kept": read_files(kept, KEPT).astype({"group": str}),
        "similarity": read_files(similarity, SIMILARITY),
        "coverage": read_files(coverage, COVERAGE),
        "judge": read_files(judge, JUDGE),
    }
    measured = Measured(**{name: of_every_arm(frame, arms) for name, frame in frames.items()})
    features = features_table(arms, measured)
    factors = coverage_table(arms, measured)
    write_table(features, features_out)
    write_table(meaning_table(arms, measured), meaning_out)
    write_table(factors, coverage_out)
    write_table(sweep_table(arms, of_every_arm(read_files(sweep, SWEEP), arms)), sweep_out)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        latents=list(snakemake.input.latents),
        layers=list(snakemake.input.layers),
        meaning=list(snakemake.input.meaning),
        kept=list(snakemake.input.kept),
        similarity=list(snakemake.input.similarity),
        coverage=list(snakemake.input.coverage),
        sweep=list(snakemake.input.sweep),
        judge=list(snakemake.input.judge),
        features_out=snakemake.output.features,
        meaning_out=snakemake.output.meaning,
        coverage_out=snakemake.output.coverage,
        sweep_out=snakemake.output.sweep,
        arms=read_plan(snakemake.input.plan).coded_arms,
    )
