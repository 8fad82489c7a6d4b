"""What the language model loses with an arm's SAEs spliced in: each layer alone, all at once.

One job per arm, all seeds: loading the model takes longer than to measure an SAE that another arm
has too once more. Seeds share the clean pass over the text where their SAEs are small, and come one
after the other where they are not: the clean pass is then one among those of dozens of layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.mask import load_limits
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream, tolerance
from clustersae.quality.language_model import ALL, read_ablations, read_evaluation_tokens
from clustersae.quality.splice import Effect, measure, recovered, splice_of
from clustersae.runtime import device, job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import by_seed, load_sae, read_config

#: SAEs of several seeds are held at once as long as they take no more than this.
SHARED_BYTES = 10**9


def main(
    model_dir: Path,
    tokens: Path,
    language_model: Path,
    limits: Path,
    saes: list[Path],
    variant: str,
    partition: str,
    each_layer: Path,
    all_layers: Path,
    n_tokens: int | None,
    batch_rows: int,
    where: torch.device,
) -> None:
    """Write one row per seed and layer, and one per seed with all layers spliced, also bounded.

    An arm with a crosscoder has no measures in the latter. Its code would have to be that of the
    clean pass (`splice.OfClean`), and so what it writes at the last layer, whatever was written
    below: errors could not add up over layers, as they do in all other arms.

    Args:
        tokens: token file of the test split, of which the first `n_tokens` analysed tokens count;
            None leaves the number to the model's size.
        language_model: the table of `evaluate_language_model.py` for the same tokens.
        limits: of the norm, beyond which tokens are left as they are; they name the studied layers.
        saes: folders of the SAEs that serve the layers in this arm; every seed of each.
        variant: of the arm, which names the rows of `all_layers`; those of `each_layer` have the
            variant of the SAE (an arm of equal exposure holds base SAEs too).
    """
    description = read_description(model_dir)
    norms = load_limits(limits, description.fingerprint)
    seeds = by_seed(saes)
    for seed, folders in seeds.items():
        layers = sorted(layer for folder in folders for layer in read_config(folder)["layers"])
        if layers != list(norms.layers):
            raise InputError(
                f"The SAEs of partition {partition}, seed {seed}, serve the layers {layers}"
                f" instead of each of {list(norms.layers)} once."
            )

    stream = ResidualStream(load_model(model_dir, description, where), description)
    text = read_evaluation_tokens(tokens, n_tokens, stream, len(norms.layers))
    ablated = read_ablations(language_model)
    alone: dict[Path, list[dict[str, Any]]] = {}
    together = []

    def measure_seeds(some: Sequence[int]) -> None:
        """Rows of some seeds, whose SAEs are let go at the end."""
        groups = [
            [load_sae(folder, where, description.fingerprint) for folder in seeds[seed]]
            for seed in some
        ]
        splices = []
        for group in groups:
            splices += [splice_of([sae], [layer]) for sae in group for layer in sae.layers]
            if not any(sae.joint for sae in group):
                splices += [splice_of(group), splice_of(group, bounded=True)]
        clean, effects, n_scored = measure(stream, text, splices, batch_rows, norms)
        if abs(ablated["clean", ""] - clean) > tolerance(stream.model.dtype):
            raise InputError(
                f"{language_model} gives the untouched model {ablated['clean', '']:.4f} nats per"
                f" token, and it has {clean:.4f} here: another text or model. Delete it and run"
                " again."
            )

        def row(effect: Effect, layer: int | str) -> dict[str, Any]:
            return {
                "ce_clean": clean,
                "ce_spliced": effect.ce,
                "delta_ce": effect.ce - clean,
                "ce_recovered_zero": recovered(ablated["zero", str(layer)], effect.ce, clean),
                "ce_recovered_mean": recovered(ablated["mean", str(layer)], effect.ce, clean),
                "kl": effect.kl,
                "n_tokens": n_scored,
            }

        found = iter(effects)
        for seed, group in zip(some, groups):
            for folder, sae in zip(seeds[seed], group):
                name = {key: sae.config[key] for key in ("variant", "cluster", "seed")}
                alone[folder] = [
                    name | {"partition": partition, "layer": layer} | row(next(found), layer)
                    for layer in sae.layers
                ]
            joint = any(sae.joint for sae in group)
            of_all, bounded = [Effect(nan, nan) if joint else next(found) for _ in range(2)]
            name = {"variant": variant, "partition": partition, "seed": seed}
            together.append(name | row(of_all, ALL) | {"ce_spliced_bounded": bounded.ce})

    for some in seeds_at_once(seeds):
        measure_seeds(some)
    write_csv(each_layer, [row for folder in saes for row in alone[folder]])
    write_csv(all_layers, together)


def seeds_at_once(seeds: Mapping[int, Sequence[Path]]) -> Iterator[Sequence[int]]:
    """Seeds that share a pass: as many as SHARED_BYTES have room for, or one."""
    largest = max(
        sum((folder / "sae.safetensors").stat().st_size for folder in folders)
        for folders in seeds.values()
    )
    n_seeds = max(1, SHARED_BYTES // largest)
    for first in range(0, len(seeds), n_seeds):
        yield list(seeds)[first : first + n_seeds]


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        tokens=Path(snakemake.input.tokens),
        language_model=Path(snakemake.input.language_model),
        limits=Path(snakemake.input.limits),
        saes=[Path(path).parent for path in snakemake.input.saes],
        variant=snakemake.wildcards.variant,
        partition=snakemake.wildcards.partition,
        each_layer=Path(snakemake.output.each_layer),
        all_layers=Path(snakemake.output.all_layers),
        n_tokens=snakemake.params.n_tokens,
        batch_rows=snakemake.params.batch_rows,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
