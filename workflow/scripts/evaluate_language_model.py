"""Cross-entropy of the language model, untouched and with layers ablated."""

from pathlib import Path

import torch

from clustersae.activations.mask import load_limits
from clustersae.activations.statistics import load_statistics
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.quality.language_model import measure_ablations, read_evaluation_tokens
from clustersae.runtime import device, job
from clustersae.runtime.files import write_csv


def main(
    model_dir: Path,
    tokens: Path,
    statistics: Path,
    limits: Path,
    output: Path,
    n_tokens: int | None,
    batch_rows: int,
    where: torch.device,
) -> None:
    """Write columns mode, layer, ce, n_tokens (see `measure_ablations`).

    Args:
        tokens: token file of the test split, of which the first `n_tokens` analysed tokens count;
            None leaves the number to the model's size.
        statistics: the layers' means on the training split.
        limits: of the norm, beyond which tokens are left as they are.
    """
    description = read_description(model_dir)
    norms = load_limits(limits, description.fingerprint)
    mean = load_statistics(statistics, description.fingerprint, norms.layers).mean
    stream = ResidualStream(load_model(model_dir, description, where), description)
    text = read_evaluation_tokens(tokens, n_tokens, stream, len(norms.layers))
    write_csv(output, measure_ablations(stream, text, mean, batch_rows, norms))


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        tokens=Path(snakemake.input.tokens),
        statistics=Path(snakemake.input.statistics),
        limits=Path(snakemake.input.limits),
        output=Path(snakemake.output[0]),
        n_tokens=snakemake.params.n_tokens,
        batch_rows=snakemake.params.batch_rows,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
