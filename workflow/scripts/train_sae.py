"""Train one SAE on the cached activations, from scratch or on from another SAE."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import described_shards
from clustersae.experiment.clusters import start_of
from clustersae.experiment.sae_settings import learning_rates
from clustersae.experiment.windows import reached
from clustersae.runtime import device, job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, write_csv, write_json
from clustersae.sae.choosing import best_fit, converged
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.preparing import diverged_before, prepare
from clustersae.sae.storage import save_sae
from clustersae.sae.validation import Validation, validate


def main(
    shards: list[Path],
    statistics: Path,
    folder: Path,
    name: str,
    variant: str,
    seed: int,
    config: dict[str, Any],
    devices: list[torch.device],
    code: str = "",
    validation: Sequence[Path] = (),
    start: Path | None = None,
    tuned: Path | None = None,
    windows: dict[str, int] | None = None,
    before: Path | None = None,
) -> None:
    """Write sae.safetensors, cfg.json, history.csv and training.json.

    Args:
        shards: of the training split; of the SAE's last window where others are gone.
        statistics: the layers' means and scales on the training split.
        name: of the SAE: its cluster `0-4`, or `3@0-4` or `3~0-2` if it starts from another.
        config: the section `sae` of the configuration; `specialise` is read for such alone, and
            `max_dead` where there are learning rates to choose from.
        code: digest of the code; an interrupted training of other code is not continued.
        devices: one, or those over which the SAE's latents are spread.
        validation: shards of that split, read where there are learning rates to choose from.
        start: folder of the SAE to start from.
        tuned: training.json of the seed whose choice of the learning rate is taken over.
        windows: in which shards are read, the fields of `Windows`; None where all are mixed.
        before: folder of the checkpoints of the window before the last, its record beside it.
    """
    opened = open_shards(shards)
    training = prepare(opened, statistics, name, variant, seed, config, windows, start)
    data = training.data
    fingerprint = data.shards[0].metadata["fingerprint"]
    rates = [read_json(tuned)["learning_rate"]] if tuned else learning_rates(config, variant)
    if len(rates) > 1 and not validation:
        raise InputError(
            f"There are {len(rates)} learning rates to choose from, and no validation shards to"
            " choose by. Give the shards, or one rate."
        )
    held_out = open_shards(validation, fingerprint) if len(rates) > 1 else []
    trainings = training.fits(rates, folder, devices, code, before=before)
    limit = config.get("max_dead", 1.0)  # absent where there is no choice
    # Those of the last window are there whether or not the others are kept.
    read = data.of_window(max(training.ends)).shards if training.ends else data.shards

    diverged = diverged_before(before)

    def score(sae: SparseAutoencoder) -> Validation:
        if not held_out:
            return Validation(0.0, 0.0, 0.0)
        home = sae.W_dec.device  # of one that was spread, the CPU
        found = validate(sae.to(devices[0]), held_out, read, limit)
        sae.to(home)
        return found

    best, scores, tuning_seconds = best_fit(converged(trainings, diverged), score, limit)
    tuning_seconds += sum(each["seconds"] for each in diverged)
    told = scores if held_out else {}

    settings, sae = best.settings, best.sae
    save_sae(
        folder,
        sae,
        settings,
        variant,
        fingerprint,
        name,
        best.first_step,
        {
            "starts_from": start_of(variant, name),
            "every_layer": data.every_layer,
            "normalisation": config["normalisation"],
            "left_out": data.shards[0].mask,
        },
    )
    write_csv(folder / "history.csv", best.history)
    d_model = data.mean.shape[1]
    flops = settings.total_flops(d_model)
    write_json(
        folder / "training.json",
        {
            **best.record,
            "learning_rate": settings.learning_rate,
            "validation_fvu": {
                # null of a rate whose reconstructions overflow, though its weights are numbers
                rate: each.fvu if math.isfinite(each.fvu) else None
                for rate, each in told.items()
            },
            "validation_dead": {rate: each.dead_fraction for rate, each in told.items()},
            "validation_l0": {rate: each.l0 for rate, each in told.items()},
            "tuning_seconds": tuning_seconds,
            "tuning_flops": flops * (len(scores) - 1 + sum(each["share"] for each in diverged)),
            "activations": settings.n_activations,
            # The place in the stream of tokens, which passes over the cached ones again and again.
            "tokens_reached": reached(config, variant, name),
            "flops": flops,
        },
    )
    for checkpoint in folder.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    statistics = Path(snakemake.input.statistics)
    main(
        shards=[Path(path) for path in snakemake.input.passing]
        or [*described_shards(statistics), *map(Path, snakemake.input.later)],
        validation=[Path(path) for path in snakemake.input.validation],
        statistics=statistics,
        folder=Path(snakemake.output.sae).parent,
        name=snakemake.wildcards.sae,
        variant=snakemake.wildcards.variant,
        seed=int(snakemake.wildcards.seed),
        config=snakemake.params.sae,
        code=snakemake.params.code,
        devices=device.choose_all(snakemake.resources.get("gpu", 0)),
        start=Path(snakemake.input.start[0]).parent if snakemake.input.start else None,
        tuned=Path(snakemake.input.tuned[0]) if snakemake.input.tuned else None,
        windows=snakemake.params.windows,
        before=Path(snakemake.input.before[0]) if snakemake.input.before else None,
    )
