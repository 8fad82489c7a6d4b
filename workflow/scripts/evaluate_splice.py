"""What the language model loses with SAEs spliced in: each layer alone, or all layers at once.

Each layer alone depends on the cluster's SAE only and is measured once per cluster; all layers at
once is a matter of the partition. All seeds are measured in one job.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clustersae import device, log
from clustersae.errors import InputError
from clustersae.evaluation.language_model import ALL, read_ablations, read_evaluation_tokens
from clustersae.evaluation.splice import measure, recovered, splice_of
from clustersae.files import write_csv
from clustersae.models.description import read_description
from clustersae.models.residual import ResidualStream, load_model
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    model_dir: Path,
    tokens: Path,
    language_model: Path,
    saes: list[Path],
    variant: str,
    partition: str | None,
    output: Path,
    n_tokens: int,
    batch_rows: int,
    where: torch.device,
) -> None:
    """Write one row per seed and layer, or per seed with all layers of a partition spliced.

    Args:
        tokens: token file of the test split, of which the first `n_tokens` analysed tokens count.
        language_model: the table of `evaluate_language_model.py` for the same tokens.
        saes: folders of one cluster's SAEs, or of all clusters of `partition`; every seed of each.
        variant: of the arm; one of equal exposure holds base SAEs too (those of single layers).
        partition: name of the partition whose SAEs are spliced together; None for each layer
            alone.
    """
    description = read_description(model_dir)
    loaded = [load_sae(folder, where, description.fingerprint) for folder in saes]
    groups = [[sae] for sae in loaded] if partition is None else by_seed(loaded)
    cases = []
    for group in groups:
        layers = sorted(layer for sae in group for layer in sae.layers)
        if partition is None:
            cases += [(group, [layer], layer) for layer in layers]
        elif layers == list(range(description.n_layers)):
            cases.append((group, layers, ALL))
        else:
            raise InputError(
                f"The SAEs of partition {partition}, seed {group[0].config['seed']}, serve the"
                f" layers {layers} instead of each of 0 to {description.n_layers - 1} once."
            )

    stream = ResidualStream(load_model(model_dir, description, where), description)
    text = read_evaluation_tokens(tokens, n_tokens)
    splices = [splice_of(group, layers) for group, layers, _ in cases]
    clean, effects, n_scored = measure(stream, *text, splices, batch_rows)
    ablated = read_ablations(language_model)
    if abs(ablated["clean", ""] - clean) > 1e-3:
        raise InputError(
            f"{language_model} gives the untouched model {ablated['clean', '']:.4f} nats per token,"
            f" and it has {clean:.4f} here: another text or model. Delete it and run again."
        )
    rows = []
    for (group, _, layer), effect in zip(cases, effects):
        config = group[0].config
        rows.append(
            {
                "variant": variant,
                "partition": partition or "",
                "seed": config["seed"],
                "layer": layer,
                "cluster": config["cluster"] if partition is None else "",
                "ce_clean": clean,
                "ce_spliced": effect.ce,
                "delta_ce": effect.ce - clean,
                "ce_recovered_zero": recovered(ablated["zero", str(layer)], effect.ce, clean),
                "ce_recovered_mean": recovered(ablated["mean", str(layer)], effect.ce, clean),
                "kl": effect.kl,
                "n_tokens": n_scored,
            }
        )
    write_csv(output, rows)


def by_seed(saes: list[SparseAutoencoder]) -> list[list[SparseAutoencoder]]:
    """SAEs of the same seed together, seeds ascending."""
    seeds = sorted({sae.config["seed"] for sae in saes})
    return [[sae for sae in saes if sae.config["seed"] == seed] for seed in seeds]


if __name__ == "__main__":
    log.to(snakemake.log[0])
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        tokens=Path(snakemake.input.tokens),
        language_model=Path(snakemake.input.language_model),
        saes=[Path(path).parent for path in snakemake.input.saes],
        variant=snakemake.wildcards.variant,
        partition=snakemake.wildcards.get("partition"),
        output=Path(snakemake.output[0]),
        n_tokens=snakemake.params.n_tokens,
        batch_rows=snakemake.params.batch_rows,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
