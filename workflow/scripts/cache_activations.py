"""Cache the residual stream of the studied layers for one shard of a split's tokens."""

from pathlib import Path

import torch

from clustersae.activations.caching import CachingSettings, cache_shard, remove_read
from clustersae.experiment.streaming import N_PASSING
from clustersae.runtime import device, job
from clustersae.runtime.files import write_json


def main(
    model_dir: Path,
    tokens: Path,
    limits: Path,
    split: str,
    shard: int,
    n_shards: int,
    n_tokens: int,
    output: Path,
    cost: Path,
    settings: CachingSettings,
    where: torch.device,
    read: int = -1,
) -> None:
    """Write the shard to `output`, and what it cost to `cost` (JSON).

    Args:
        read: windows up to this one are read by nobody any more, if shards are not kept.
    """
    remove_read(output.parents[1], read)
    record = cache_shard(
        model_dir, tokens, limits, split, shard, n_shards, n_tokens, output, settings, where
    )
    write_json(cost, record)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        tokens=Path(snakemake.input.tokens),
        limits=Path(snakemake.input.limits),
        split=snakemake.params.split,
        shard=int(snakemake.wildcards.shard),
        n_shards=snakemake.params.n_shards,
        n_tokens=snakemake.params.n_tokens,
        output=Path(snakemake.output.shard),
        cost=Path(snakemake.output.cost),
        settings=CachingSettings(**snakemake.params.settings),
        where=device.choose(snakemake.resources.get("gpu", 0)),
        read=int(snakemake.wildcards.get("window", 0)) - N_PASSING,
    )
