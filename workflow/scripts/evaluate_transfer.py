"""What every layer's own SAE loses on every other layer."""

from pathlib import Path

import torch

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import open_shards
from clustersae.latents.code import first_tokens
from clustersae.runtime import device, job, log
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import by_seed, load_sae
from clustersae.transfer.measure import transfer_rows


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
    for group in by_seed([load_sae(folder, where, fingerprint) for folder in saes]):
        several = [sae.layers for sae in group if len(sae.layers) > 1]
        if several:
            raise InputError(f"Transfer needs SAEs of single layers, not of {list(several[0])}.")
        own = {sae.layers[0]: sae for sae in group}
        blocks = {
            layer: first_tokens(layer_blocks(opened, layer), n_tokens) for layer in sorted(own)
        }
        label = {"variant": group[0].config["variant"], "seed": group[0].config["seed"]}
        for row in transfer_rows(dict(sorted(own.items())), blocks):
            rows.append(label | row)
            progress.update(row["source"] == max(own))
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
