"""Write the training of one SAE as an experiment tracker reads it."""

from pathlib import Path

from clustersae.exports.tracking import TRACKERS, Training
from clustersae.presentation.tables import HISTORY, read_files
from clustersae.runtime import job
from clustersae.runtime.files import read_json


def main(sae: Path, model: str, tracker: str, folder: Path) -> None:
    """Write into `folder`.

    Args:
        sae: its folder, `saes/{variant}/{sae}/seed-{seed}`, with cfg.json and history.csv.
        model: name of the model in the results.
        tracker: one of `exports.tracking.TRACKERS`.
    """
    history = sae / "history.csv"
    training = Training(
        model,
        "/".join(sae.parts[-3:]),
        read_json(sae / "cfg.json"),
        read_files([history], HISTORY),
        history.stat().st_mtime,
    )
    TRACKERS[tracker](folder, training)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        sae=Path(snakemake.input.history).parent,
        model=snakemake.wildcards.model,
        tracker=snakemake.wildcards.tracker,
        folder=Path(snakemake.output[0]),
    )
