"""What every layer's own SAE loses on every other layer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import open_shards
from clustersae.latents.code import first_tokens
from clustersae.latents.decoders import HELD_BYTES
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
    seeds = by_seed(saes)
    progress = log.Progress(
        "Reading SAEs on other layers, by pair", sum(len(own) ** 2 for own in seeds.values())
    )

    def blocks(layer: int) -> Iterator[torch.Tensor]:
        return first_tokens(layer_blocks(opened, layer), n_tokens)

    for seed, folders in seeds.items():
        homes = {folder: home_of(folder) for folder in folders}
        own = {home.layers[0]: folder for folder, home in homes.items()}
        by_layer = {layer: homes[own[layer]] for layer in sorted(own)}
        label = {"variant": read_config(folders[0])["variant"], "seed": seed}
        found: list[dict[str, Any]] = []
        for batch in held_together([own[layer] for layer in by_layer]):
            held = [load_sae(folder, where, fingerprint) for folder in batch]
            for row in transfer_rows(held, by_layer, blocks):
                found.append(label | row)
                progress.update()
            del held  # before the next ones are read
        rows += sorted(found, key=lambda row: (row["target"], row["source"]))
    progress.close()
    write_csv(output, rows)


def held_together(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """The SAEs in `folders`, as many at a time as HELD_BYTES have room for, and one at least."""
    batch: list[Path] = []
    n_bytes = 0
    for folder in folders:
        size = (folder / "sae.safetensors").stat().st_size
        if batch and n_bytes + size > HELD_BYTES:
            yield batch
            batch, n_bytes = [], 0
        batch.append(folder)
        n_bytes += size
    if batch:
        yield batch


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
