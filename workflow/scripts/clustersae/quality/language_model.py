"""The language model itself, untouched and ablated: what the splices are measured against."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.mask import NormLimits
from clustersae.corpora.tokens import read_tokens, rows_holding
from clustersae.models.residual import ResidualStream
from clustersae.quality.splice import EvaluationTokens, mean_ablation, measure, zero_ablation
from clustersae.runtime.errors import InputError

#: Name, in the column `layer`, of all layers at once.
ALL = "all"


#: Tokens × studied layers × parameters of the model that are spliced where nobody says how many.
#: Half of the model runs once for every layer, with two operations for each parameter and token:
#: 3e12 operations for every seed of every arm.
WORK = 3 * 10**12
MOST_TOKENS, FEWEST_TOKENS = 20_000, 1_000


def read_evaluation_tokens(
    path: Path, n_tokens: int | None, stream: ResidualStream, n_layers: int
) -> EvaluationTokens:
    """The first rows of the test split that hold `n_tokens` tokens to analyse.

    Args:
        n_tokens: None for as many as the size of the model, with `n_layers` studied layers, makes
            reasonable: measuring must not cost more than training.
    """
    file = read_tokens(path)
    kept_per_row = file.kept_per_row
    if n_tokens is None:
        work = n_layers * sum(each.numel() for each in stream.model.parameters())
        reasonable = min(MOST_TOKENS, max(FEWEST_TOKENS, WORK // work))
        n_tokens = min(reasonable, int(kept_per_row.sum()))
    rows = file.rows(slice(rows_holding(kept_per_row, n_tokens, "test")))
    return EvaluationTokens(rows.tokens, rows.kept, rows.scored)


def measure_ablations(
    stream: ResidualStream,
    text: EvaluationTokens,
    mean: torch.Tensor,
    batch_rows: int = 32,
    limits: NormLimits | None = None,
) -> list[dict[str, Any]]:
    """Cross-entropy in nats: clean, and with each studied layer and all of them ablated.

    Args:
        mean: μ [n_layers, d_model] of the training split, of the studied layers.
        limits: name the studied layers, all of them without, and tokens that are left out.

    Returns:
        Rows with mode (clean, zero or mean), layer ("", an index or "all"), ce and n_tokens.
    """
    layers = list(limits.layers) if limits else list(range(stream.n_layers))
    means = dict(zip(layers, mean))
    groups = [[layer] for layer in layers] + [layers]
    names = [*layers, ALL]
    splices = [zero_ablation(group) for group in groups]
    splices += [mean_ablation({layer: means[layer] for layer in group}) for group in groups]
    clean, effects, n_tokens = measure(stream, text, splices, batch_rows, limits, divergence=False)
    modes = [(mode, layer) for mode in ("zero", "mean") for layer in names]
    rows = [{"mode": "clean", "layer": "", "ce": clean, "n_tokens": n_tokens}]
    rows += [
        {"mode": mode, "layer": layer, "ce": effect.ce, "n_tokens": n_tokens}
        for (mode, layer), effect in zip(modes, effects)
    ]
    return rows


def read_ablations(path: Path) -> Mapping[tuple[str, str], float]:
    """Cross-entropy by (mode, layer) as `measure_ablations` named them, layers as strings."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {(row["mode"], row["layer"]): float(row["ce"]) for row in csv.DictReader(file)}
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a table of the language model's cross-entropy ({error!r}). Delete it"
            " and run again."
        ) from None
