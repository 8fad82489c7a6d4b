"""Train one SAE on the cached activations, from scratch or on from another SAE."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import load_statistics
from clustersae.experiment.clusters import VIA, layers_of, start_of
from clustersae.experiment.sae_settings import learning_rates, resolve
from clustersae.experiment.variants import EVERY_LAYER, kind_of
from clustersae.runtime import device, job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, write_csv, write_json
from clustersae.sae.fitting import Activations, best_fit, converged, fit
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.start import load_start
from clustersae.sae.storage import save_sae
from clustersae.sae.validation import Validation, validate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    shards: list[Path],
    statistics: Path,
    folder: Path,
    name: str,
    variant: str,
    seed: int,
    config: dict[str, Any],
    where: torch.device,
    code: str = "",
    validation: Sequence[Path] = (),
    start: Path | None = None,
    tuned: Path | None = None,
) -> None:
    """Write sae.safetensors, cfg.json, history.csv and training.json.

    Args:
        shards: of the training split.
        statistics: the layers' means and scales on the training split.
        name: of the SAE: its cluster `0-4`, or `3@0-4` or `3~0-2` if it starts from another.
        config: the section `sae` of the configuration; `specialise` is read for such alone.
        code: digest of the code; an interrupted training of other code is not continued.
        validation: shards of that split, read where there are learning rates to choose from.
        start: folder of the SAE to start from.
        tuned: training.json of the seed whose choice of the learning rate is taken over.
    """
    layers = layers_of(name)
    opened = open_shards(shards)
    fingerprint = opened[0].metadata["fingerprint"]
    described = load_statistics(statistics, fingerprint, layers)
    mean, scale = described.mean, described.scale_by(config["normalisation"])
    data = Activations(opened, layers, mean, scale, kind_of(variant) == EVERY_LAYER)
    began = load_start(start, fingerprint, is_other_layer=VIA in name) if start else None
    rates = [read_json(tuned)["learning_rate"]] if tuned else learning_rates(config, variant)
    if len(rates) > 1 and not validation:
        raise InputError(
            f"There are {len(rates)} learning rates to choose from, and no validation shards to"
            " choose by. Give the shards, or one rate."
        )
    held_out = open_shards(validation, fingerprint) if len(rates) > 1 else []

    label = f"SAE {name}, {variant}, seed {seed}"
    trainings = [
        partial(
            fit,
            data,
            resolve(config, variant, len(layers), mean.shape[1], seed, rate),
            folder / f"checkpoint-{number}.safetensors",
            label,
            where,
            code,
            began,
            keep=len(rates) > 1,
        )
        for number, rate in enumerate(rates)
    ]
    limit = config["max_dead"]

    def score(sae: SparseAutoencoder) -> Validation:
        return validate(sae, held_out, opened, limit) if held_out else Validation(0.0, 0.0)

    best, scores, tuning_seconds = best_fit(converged(trainings), score, limit)

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
            "left_out": opened[0].mask,
        },
    )
    write_csv(folder / "history.csv", best.history)
    reached = (best.first_step + settings.n_steps) * settings.batch_size
    flops = settings.total_flops(mean.shape[1])
    write_json(
        folder / "training.json",
        {
            **best.record,
            "learning_rate": settings.learning_rate,
            "validation_fvu": {rate: each.fvu for rate, each in scores.items() if held_out},
            "validation_dead": {
                rate: each.dead_fraction for rate, each in scores.items() if held_out
            },
            "tuning_seconds": tuning_seconds,
            "tuning_flops": flops * max(0, len(scores) - 1),
            "activations": settings.n_activations,
            # The place in the stream of tokens, which passes over the cached ones again and again.
            "tokens_reached": reached // len(layers) if data.every_layer else reached,
            "flops": flops,
            "flops_dense": settings.total_dense_flops(mean.shape[1]),
        },
    )
    for checkpoint in folder.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        shards=[Path(path) for path in snakemake.input.shards],
        validation=[Path(path) for path in snakemake.input.validation],
        statistics=Path(snakemake.input.statistics),
        folder=Path(snakemake.output.sae).parent,
        name=snakemake.wildcards.sae,
        variant=snakemake.wildcards.variant,
        seed=int(snakemake.wildcards.seed),
        config=snakemake.params.sae,
        code=snakemake.params.code,
        where=device.choose(snakemake.resources.get("gpu", 0)),
        start=Path(snakemake.input.start[0]).parent if snakemake.input.start else None,
        tuned=Path(snakemake.input.tuned[0]) if snakemake.input.tuned else None,
    )
