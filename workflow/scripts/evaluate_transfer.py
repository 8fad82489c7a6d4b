"""What every layer's own SAE loses on every other layer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import open_shards
from clustersae.latents.code import first_tokens
from clustersae.runtime import device, job, log
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import by_seed, load_sae, read_config
from clustersae.transfer.measure import home_of, transfer_rows


def main(
    saes: list[Path], shards: list[Path], output: Path, n_tokens: int, where: torch.device
) -> None:
    """Write one row per seed, source and target layer.

    Args:
        saes: folders of per-layer SAEs of one training, every seed of each.
        shards: of the validation split; the first `n_tokens` tokens are read.
    """
    opened = open_shards(shards)
    fingerprint = opened[0].metadata["fingerprint"]
    rows = []
    progress = log.Progress("Reading SAEs on other layers, by layer", len(saes))

    def blocks(layer: int) -> Iterator[torch.Tensor]:
        return first_tokens(layer_blocks(opened, layer), n_tokens)

    for seed, folders in by_seed(saes).items():
        homes = {folder: home_of(folder) for folder in folders}
        own = {home.layers[0]: folder for folder, home in homes.items()}
        by_layer = {layer: homes[own[layer]] for layer in sorted(own)}
        found: list[dict[str, Any]] = []
        for layer in by_layer:  # one SAE is held at a time
            found += transfer_rows(load_sae(own[layer], where, fingerprint), by_layer, blocks)
            progress.update()
        label = {"variant": read_config(folders[0])["variant"], "seed": seed}
        found.sort(key=lambda row: (row["target"], row["source"]))
        rows += [label | row for row in found]
    progress.close()
    write_csv(output, rows)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        shards=[Path(path) for path in snakemake.input.validation],
        output=Path(snakemake.output[0]),
        n_tokens=snakemake.params.n_tokens,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
