"""Reconstruction and sparsity of one cluster's SAEs (all seeds) on held-out activations."""

from functools import reduce
from operator import add
from pathlib import Path

import torch

from clustersae.activations.blocks import reading_blocks
from clustersae.activations.shards import open_shards
from clustersae.quality.reconstruction import evaluate_reading
from clustersae.runtime import device, job, log
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import load_sae


def main(
    saes: list[Path],
    shards: dict[str, list[Path]],
    reconstruction: Path,
    density: Path,
    where: torch.device,
) -> None:
    """Write the metrics per seed, layer and split, and the latent densities of each layer.

    All are of the tokens that are analysed, but `fvu_all_tokens`, which counts those that are left
    out as well. Latents that fire rarely take many tokens to be told from dead ones: densities and
    shares of dead latents are of the tokens of all splits together.

    Args:
        saes: one folder per seed.
        shards: of each held-out split.
    """
    rows, histogram = [], []
    opened = {split: open_shards(paths) for split, paths in shards.items()}
    fingerprint = next(iter(opened.values()))[0].metadata["fingerprint"]
    for parts in opened.values():
        if parts[0].metadata["fingerprint"] != fingerprint:
            raise InputError(f"{parts[0].path} belongs to another model. Delete it and run again.")
    progress = None
    for folder in saes:
        sae = load_sae(folder, where, fingerprint)
        n_layers = len(opened) * len(sae.layers)
        progress = progress or log.Progress("Evaluating layers", len(saes) * n_layers)
        label = {key: sae.config[key] for key in ("variant", "cluster", "seed")}
        for layers in sae.readings:
            found, whole = {}, {}
            for split, parts in opened.items():
                found[split] = evaluate_reading(sae, layers, reading_blocks(parts, layers))
                left_out = ([shard.left_out(layer) for layer in layers] for shard in parts)
                whole[split] = evaluate_reading(sae, layers, left_out, found[split])
                progress.update(len(layers))
            for index, layer in enumerate(layers):
                firings = reduce(add, (metrics[index].firings() for metrics in found.values()))
                place = label | {"layer": layer}
                for split in opened:
                    all_tokens = {"fvu_all_tokens": whole[split][index].compute()["fvu"]}
                    own = {"split": split} | all_tokens | found[split][index].compute()
                    rows.append(place | own | firings.shares())
                histogram += [place | each for each in firings.histogram()]
    if progress:
        progress.close()
    write_csv(reconstruction, rows)
    write_csv(density, histogram)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        shards={
            split: [Path(path) for path in snakemake.input[split]]
            for split in ("validation", "test")
        },
        reconstruction=Path(snakemake.output.reconstruction),
        density=Path(snakemake.output.density),
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
