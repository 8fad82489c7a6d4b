"""The seeds of one language model in the form of the published record, and beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clustersae.pretraining.published import LOSSES, MEANS, METRICS, PER_SEED
from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted

COLUMNS = (
    *("corpus", "metric", "n_seeds", "mean", "std_over_sqrt_n", "std_over_n"),
    *("published_mean", "published_std_over_sqrt_n", "published_std_over_n", "ratio"),
)
_WORDS = {
    "final_train_loss": "final training loss",
    "best_val_loss": "best validation loss",
    "total_train_time": "training time, s",
    "avg_inference_tokens_per_second": "tokens per second",
}


def published_form(corpus: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`{corpus: {means, stderrs, final_info_dict}}` of the records of seeds.

    `stderrs` are standard errors of the mean: std/√n, with the standard deviation of a sample;
    null for one seed. `stderrs_published_way` are what the published record calls by that name:
    std/n, with the standard deviation of a population; null for one seed, too.

    Args:
        records: of training and generation together, one per seed.

    Raises:
        InputError: a record lacks a figure.
    """
    values = {metric: [_figure(record, metric) for record in records] for metric in METRICS}
    errors = {metric: _errors(each) for metric, each in values.items()}
    return {
        corpus: {
            "means": {f"{metric}_mean": float(np.mean(each)) for metric, each in values.items()},
            "stderrs": {f"{metric}_stderr": errors[metric][0] for metric in METRICS},
            "stderrs_published_way": {f"{metric}_stderr": errors[metric][1] for metric in METRICS},
            "final_info_dict": values,
        }
    }


def across(models: Sequence[str], forms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several published forms in one, keyed by corpus; by corpus and model where two share one.

    Args:
        models: whose form each is.
    """
    names = [corpus for form in forms for corpus in form]
    return {
        corpus if names.count(corpus) == 1 else f"{corpus} ({model})": figures
        for model, form in zip(models, forms)
        for corpus, figures in form.items()
    }


def _errors(values: Sequence[float]) -> tuple[float | None, float | None]:
    """std/√n of a sample and std/n of a population; one value alone has no spread to tell of."""
    n = len(values)
    if n == 1:
        return None, None
    return float(np.std(values, ddof=1)) / math.sqrt(n), float(np.std(values)) / n


def _figure(record: Mapping[str, Any], metric: str) -> float:
    value = record.get(metric)
    if value is None:
        raise InputError(
            f"The record of a seed has no {metric}: delete its training.json and generation.json,"
            " and run again."
        )
    return float(value)


def beside_published(
    form: Mapping[str, Mapping[str, Any]], published: str | None = None, of_same_text: bool = True
) -> pd.DataFrame:
    """One row per corpus and metric: ours, what was published, and the ratio of the means.

    Args:
        form: as `published_form` gives it.
        published: name of the published run; None leaves its columns empty.
        of_same_text: False leaves them empty for losses, which are of another text.
    """
    rows = []
    for corpus, ours in form.items():
        for index, metric in enumerate(METRICS):
            mean = ours["means"][f"{metric}_mean"]
            compared = published if of_same_text or metric not in LOSSES else None
            known = MEANS[compared][index] if compared else math.nan
            per_seed = PER_SEED.get(compared) if compared else None
            errors = _errors(per_seed[index]) if per_seed else (None,) * 2
            rows.append(
                (
                    *(corpus, metric, len(ours["final_info_dict"][metric]), mean),
                    ours["stderrs"][f"{metric}_stderr"],
                    ours["stderrs_published_way"][f"{metric}_stderr"],
                    *(known, *errors, mean / known),
                )
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(COLUMNS[3:], float))


def as_text(table: pd.DataFrame, trained_on: Sequence[str], written_on: Sequence[str]) -> str:
    """The table of `beside_published` for a terminal, with where it was measured.

    Args:
        trained_on, written_on: names of the devices, of training and of generation.
    """
    n_seeds = int(table["n_seeds"].max())
    lines = [
        f"{table['corpus'].iloc[0]}: {counted(n_seeds, 'seed')} on"
        f" {', '.join(trained_on)}"
        + (f", writing on {', '.join(written_on)}" if written_on != trained_on else ""),
        f"{'':24}{'mean':>12}{'± std/√n':>12}{'std/n':>10}{'published':>12}{'std/n':>10}"
        f"{'ratio':>9}",
    ]
    for row in table.itertuples():
        numbers = (
            f"{row.mean:>12.5g}{_or_dash(row.std_over_sqrt_n, 12, '.2g')}"
            f"{_or_dash(row.std_over_n, 10, '.2g')}"
            f"{_or_dash(row.published_mean, 12, '.5g')}"
            f"{_or_dash(row.published_std_over_n, 10, '.2g')}{_or_dash(row.ratio, 9, '.3g')}"
        )
        lines.append(f"{_WORDS[row.metric]:24}{numbers}")
    return "\n".join(lines) + "\n"


def _or_dash(value: float, width: int, format: str) -> str:
    return "–".rjust(width) if math.isnan(value) else f"{value:{width}{format}}"


def learning_curves(records: Sequence[tuple[int, Mapping[str, Any]]]) -> pd.DataFrame:
    """Losses by seed and step, in nat per token: what the figure shows.

    `kind` is batch (one training batch, with dropout), train or validation (an evaluation).

    Args:
        records: (seed, training record).
    """
    rows: list[tuple[int, str, int, float]] = []
    for seed, record in records:
        logged = record["train_losses"]
        rows += [(seed, "batch", *pair) for pair in zip(logged["step"], logged["loss"])]
        for point in record["curve"]:
            rows.append((seed, "validation", point["step"], point["validation_loss"]))
            if point["train_split_loss"] is not None:
                rows.append((seed, "train", point["step"], point["train_split_loss"]))
    return pd.DataFrame(rows, columns=["seed", "kind", "step", "loss"])
