"""What the language model loses with an arm's SAEs spliced in: each layer alone, all at once.

One job per arm, all seeds: loading the model takes longer than to measure an SAE that another arm
has too once more, and all cases share the clean pass over the text.
"""

from math import nan
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.mask import load_limits
from clustersae.models.description import read_description
from clustersae.models.residual import ResidualStream, load_model
from clustersae.quality.language_model import ALL, read_ablations, read_evaluation_tokens
from clustersae.quality.splice import Effect, measure, recovered, splice_of
from clustersae.runtime import device, job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import by_seed, load_sae


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
    loaded = [load_sae(folder, where, description.fingerprint) for folder in saes]
    alone = [([sae], [layer]) for sae in loaded for layer in sae.layers]
    together = []
    for group in by_seed(loaded):
        layers = sorted(layer for sae in group for layer in sae.layers)
        if layers != list(norms.layers):
            raise InputError(
                f"The SAEs of partition {partition}, seed {group[0].config['seed']}, serve the"
                f" layers {layers} instead of each of {list(norms.layers)} once."
            )
        together.append((group, layers))

    stream = ResidualStream(load_model(model_dir, description, where), description)
    text = read_evaluation_tokens(tokens, n_tokens, stream, len(norms.layers))
    at_once = [] if any(sae.joint for sae in loaded) else together
    splices = [splice_of(group, layers) for group, layers in (*alone, *at_once)]
    splices += [splice_of(group, layers, bounded=True) for group, layers in at_once]
    clean, effects, n_scored = measure(stream, text, splices, batch_rows, norms)
    ablated = read_ablations(language_model)
    if abs(ablated["clean", ""] - clean) > 1e-3:
        raise InputError(
            f"{language_model} gives the untouched model {ablated['clean', '']:.4f} nats per token,"
            f" and it has {clean:.4f} here: another text or model. Delete it and run again."
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

    rows = []
    for ([sae], [layer]), effect in zip(alone, effects):
        name = {key: sae.config[key] for key in ("variant", "cluster", "seed")}
        rows.append(name | {"partition": partition, "layer": layer} | row(effect, layer))
    write_csv(each_layer, rows)
    of_all = effects[len(alone) :] or [Effect(nan, nan)] * (2 * len(together))
    rows = []
    for (group, _), effect, bounded in zip(together, of_all, of_all[len(together) :]):
        name = {"variant": variant, "partition": partition, "seed": group[0].config["seed"]}
        rows.append(name | row(effect, ALL) | {"ce_spliced_bounded": bounded.ce})
    write_csv(all_layers, rows)


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
