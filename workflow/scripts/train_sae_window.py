"""Train one SAE to the end of a window of shards, which are gone when the next one is read."""

from pathlib import Path
from typing import Any

import torch

from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import described_shards
from clustersae.experiment.sae_settings import learning_rates
from clustersae.runtime import device, job
from clustersae.runtime.files import write_json
from clustersae.sae.choosing import converged
from clustersae.sae.fitting import Fit
from clustersae.sae.preparing import diverged_before, prepare


def main(
    shards: list[Path],
    statistics: Path,
    folder: Path,
    name: str,
    variant: str,
    seed: int,
    config: dict[str, Any],
    devices: list[torch.device],
    code: str,
    start: Path | None,
    windows: dict[str, int],
    window: int,
    before: Path | None,
    after: Path,
    record: Path,
) -> None:
    """Write a checkpoint of every learning rate into `after`, and what was done to `record` (JSON).

    Args:
        folder: of the SAE.
        window: whose shards are given; before: folder of the checkpoints of the one before, its
            record beside it.
        Others as of `train_sae`.
    """
    opened = open_shards(shards)
    training = prepare(opened, statistics, name, variant, seed, config, windows, start)
    rates = learning_rates(config, variant)
    trainings = training.fits(rates, folder, devices, code, window, before, after)
    diverged = diverged_before(before)
    done = [_told(fitted) for fitted in converged(trainings, diverged)]
    steps = training.ends[window]
    told = {"window": window, "steps": steps, "trainings": done, "diverged": diverged}
    write_json(record, told)
    for checkpoint in folder.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()


def _told(fitted: Fit) -> dict[str, Any]:
    """What one learning rate has come to: seconds in all so far, the FVU of the last steps."""
    last = fitted.history[-1] if fitted.history else {}
    return {
        "learning_rate": fitted.settings.learning_rate,
        "seconds": fitted.record["seconds"],
        "fvu": last.get("fvu"),
    }


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    files = snakemake.input
    statistics = Path(files.statistics)
    main(
        shards=[Path(path) for path in files.passing] or described_shards(statistics),
        statistics=statistics,
        folder=Path(snakemake.output.record).parents[1],
        name=snakemake.wildcards.sae,
        variant=snakemake.wildcards.variant,
        seed=int(snakemake.wildcards.seed),
        config=snakemake.params.sae,
        devices=device.choose_all(snakemake.resources.get("gpu", 0)),
        code=snakemake.params.training_code,
        start=Path(files.start[0]).parent if files.start else None,
        windows=snakemake.params.windows,
        window=int(snakemake.wildcards.window),
        before=Path(files.before[0]) if files.before else None,
        after=Path(snakemake.output.checkpoints),
        record=Path(snakemake.output.record),
    )
