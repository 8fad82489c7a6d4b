"""How large activations usually are, on a sample, and beyond which norm tokens are left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from clustersae.activations.caching import measure_limits
from clustersae.activations.mask import save_limits
from clustersae.runtime import device, job


def main(
    model_dir: Path,
    tokens: Path,
    output: Path,
    layers: str | Sequence[int] | Mapping[str, int],
    multiple: float | None,
    batch_rows: int,
    where: torch.device,
) -> None:
    """Write the limits for the studied layers.

    Args:
        tokens: token file of the training split.
        layers, multiple, batch_rows: `layers`, `max_norm_multiple` and `batch_rows` of the
            section `activations`.
    """
    save_limits(output, measure_limits(model_dir, tokens, layers, multiple, batch_rows, where))


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        tokens=Path(snakemake.input.tokens),
        output=Path(snakemake.output[0]),
        layers=snakemake.params.layers,
        multiple=snakemake.params.multiple,
        batch_rows=snakemake.params.batch_rows,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
