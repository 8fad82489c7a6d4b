"""Train the SAE of one cluster of layers on the cached activations."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clustersae import device, log
from clustersae.activations.batches import normalised_batches
from clustersae.activations.shards import open_shards
from clustersae.clusters import parse_cluster
from clustersae.files import write_csv, write_json
from clustersae.meter import Meter
from clustersae.sae.checkpoint import Checkpoint, identity
from clustersae.sae.flops import dense_flops, sparse_flops
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.settings import resolve
from clustersae.sae.storage import save_sae
from clustersae.sae.training import Trainer, train
from clustersae.tensors import load_tensors

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    shards: list[Path],
    statistics: Path,
    folder: Path,
    cluster: str,
    variant: str,
    seed: int,
    config: dict[str, Any],
    where: torch.device,
    code: str = "",
) -> None:
    """Write sae.safetensors, cfg.json, history.csv and training.json into `folder`.

    Args:
        shards: of the training split.
        statistics: the layers' means and scales on the training split.
        config: the section `sae` of the configuration.
        code: digest of the code; an interrupted training of other code is not continued.
    """
    layers = parse_cluster(cluster)
    tensors, metadata = load_tensors(statistics)
    mean, scale = tensors["mean"][list(layers)], tensors["scale"][list(layers)]
    settings = resolve(config, variant, len(layers), mean.shape[1], seed)
    opened = open_shards(shards, metadata["fingerprint"])

    sae = SparseAutoencoder(layers, settings.d_sae, settings.k, mean, scale)
    sae.initialise(torch.Generator().manual_seed(seed))
    trainer = Trainer(sae.to(where), settings)
    meter = Meter(where)
    read = [shard.checksums for shard in opened]
    same = identity(settings, cluster=cluster, shards=read, code=code, torch=torch.__version__)
    checkpoint = Checkpoint(folder / "checkpoint.safetensors", same, elapsed=meter.elapsed)
    checkpoint.restore(trainer)
    first_step = trainer.step_number
    for shard in opened:  # checksums are compared at the first touch, which is no part of T
        for layer in layers:
            shard.layer(layer)

    with meter:
        steps = range(first_step, settings.n_steps)
        batches = normalised_batches(
            opened, layers, mean, scale, settings.batch_size, seed, steps, where
        )
        history = train(
            trainer, batches, f"SAE {cluster}, {variant}, seed {seed}", after_step=checkpoint
        )
    save_sae(folder, sae, settings, variant, metadata["fingerprint"])
    write_csv(folder / "history.csv", checkpoint.history + history)
    activations = settings.n_steps * settings.batch_size
    write_json(
        folder / "training.json",
        {
            **meter.record,
            "seconds": meter.record["seconds"] + checkpoint.seconds,
            "resumed_at_step": first_step,
            "activations": activations,
            "flops": activations * sparse_flops(sae.d_model, sae.d_sae, sae.k),
            "flops_dense": activations * dense_flops(sae.d_model, sae.d_sae),
        },
    )
    checkpoint.remove()


if __name__ == "__main__":
    log.to(snakemake.log[0])
    torch.set_num_threads(snakemake.threads)
    main(
        shards=[Path(path) for path in snakemake.input.shards],
        statistics=Path(snakemake.input.statistics),
        folder=Path(snakemake.output.sae).parent,
        cluster=snakemake.wildcards.cluster,
        variant=snakemake.wildcards.variant,
        seed=int(snakemake.wildcards.seed),
        config=snakemake.params.sae,
        code=snakemake.params.code,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
