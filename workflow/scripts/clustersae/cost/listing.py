"""The plan and its price for people, as `snakemake plan` and `clustersae init` print them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clustersae.cost.forecast import Forecast
from clustersae.cost.rates import MEASUREMENTS, Rates
from clustersae.runtime.machine import Machine
from clustersae.runtime.words import counted

#: What lowers the memory of jobs → their rules; see `cost.memory.needed`.
_REMEDIES = {
    "lower corpus.max_tokens": ("tokenise_corpus",),
    "lower activations.shard_tokens or activations.batch_rows, or load the model in bfloat16"
    " (models.NAME.dtype)": ("measure_norms", "cache_activations", "cache_window"),
    "lower evaluation.batch_rows, or load the model in bfloat16 (models.NAME.dtype)": (
        "evaluate_language_model",
    ),
    "load the model in bfloat16 (models.NAME.dtype)": ("assess_task", "evaluate_residual_basis"),
    "lower sae.batch_size or sae.expansion_factor": ("train_sae", "train_sae_window"),
    "lower sae.expansion_factor": (
        *("evaluate_reconstruction", "evaluate_correspondence", "evaluate_features"),
        *("evaluate_probing", "evaluate_transfer", "export_saes"),
    ),
    "lower sae.expansion_factor or study fewer layers (activations.layers)": (
        *("evaluate_splice", "evaluate_circuits", "evaluate_directions"),
    ),
}


def arms_table(price: Forecast, rates: Rates | None) -> Iterator[str]:
    """Every arm with what it costs, and what the columns mean."""
    rows = [("arm", "SAEs", "trained", "budget", "A + K·T", "here", "time", "measured as")]
    for arm in price.arms:
        time = ""
        if rates:
            training = rates.training_hours(arm.here - arm.caching, arm.n_trained)
            time = _time(rates.caching_hours(arm.caching) + training)
        other = "" if arm.measured_as == arm.name else arm.measured_as
        rows.append(
            (
                *(arm.name, str(arm.n_saes), str(arm.n_trained), f"{arm.budget:.3g}"),
                *(f"{arm.dense:.3e}", f"{arm.here:.2e}", time, other),
            )
        )
    yield from _aligned(rows, "<>>>>>><")
    yield ""
    yield (
        "A + K·T: operations (FLOPs) of caching and of training one seed at one learning rate, all"
        f" products dense: A = {price.dense_caching:.4g}, T = {price.dense_training:.4g}."
    )
    yield (
        "Here: as they are done here, with sparse decoders, with Adam, and without the blocks after"
        " the last studied layer."
    )
    if rates:
        yield f"Time is that of one core or GPU, {rates.source}."
    else:
        yield (
            "No times: nothing has been cached and trained here yet. Any finished run below results"
            " tells how fast this machine is."
        )


def saes_table(content: Mapping[str, Any]) -> Iterator[str]:
    """Every SAE of plan.json, what it is trained on and what it starts from."""
    rows = [("SAE", "variant", "training tokens", "starts from")]
    for sae in content["saes"]:
        start = sae["starts_from"]
        where = f"{start[1]} ({start[0]})" if start else ""
        rows.append((sae["sae"], sae["variant"], f"{sae['training_tokens']:,}", where))
    total = sum(sae["training_tokens"] for sae in content["saes"])
    yield from _aligned(rows, "<<><")
    yield ""
    yield (
        f"{_saes_and_seeds(len(content['saes']), len(content['seeds']))}, {total:,} training tokens"
        " per seed (trials of learning rates not counted)."
    )


def jobs_table(price: Forecast, rates: Rates | None) -> Iterator[str]:
    """Jobs of every rule, the memory of the largest, the time of all."""
    rows = [("rule", "jobs", "memory", "time")]
    hours = _hours(price, rates) if rates else {}
    for rule, number in price.jobs.items():
        memory = number_of_bytes(price.memory[rule]) if rule in price.memory else ""
        rows.append((rule, f"{number:,}", memory, _time(hours[rule]) if rule in hours else ""))
    yield from _aligned(rows, "<>>>")


def totals(
    price: Forecast, rates: Rates | None, machine: Machine, n_jobs: int, present: int = 0
) -> Iterator[str]:
    """The run as a whole, and what this machine has too little of.

    Args:
        n_jobs: at once.
        present: bytes of what is on the disk already.
    """
    yield (
        f"{_saes_and_seeds(price.n_saes, price.n_seeds, ' (arms share some)')}:"
        f" {price.activations / 1e6:,.3g} million activations and {price.training_flops:.2e} FLOPs"
        f" with trials of learning rates; caching: {price.caching_flops:.2e} FLOPs."
    )
    yield (
        f"Disk: {number_of_bytes(price.cache_bytes)} of activations,"
        f" {number_of_bytes(price.sae_bytes)} of SAEs, and"
        f" {number_of_bytes(price.checkpoint_bytes)} of checkpoints for each training under way"
        + (
            f" and {number_of_bytes(price.waiting_bytes)} for those that wait for shards, of which"
            " the first window and two others are there at once."
            if price.waiting_bytes
            else "."
        )
    )
    if rates:
        hours = sum(_hours(price, rates).values())
        least, most = (hours * (1 + share) / n_jobs for share in MEASUREMENTS)
        yield (
            f"Time, roughly: {_time(hours)} of one core or GPU, {rates.source}; with measurements"
            f" {_time(least)} to {_time(most)}"
            + (f", {n_jobs} jobs at once." if n_jobs > 1 else ".")
            + " Circuits come on top. Expect a factor of two."
        )
    yield from _warnings(price, machine, n_jobs, present)


def _warnings(price: Forecast, machine: Machine, n_jobs: int, present: int) -> Iterator[str]:
    wanted = price.cache_bytes + price.sae_bytes + price.waiting_bytes - present
    wanted += n_jobs * price.checkpoint_bytes
    if wanted > machine.disk:
        yield (
            f"Warning: {number_of_bytes(wanted)} more are wanted on a disk with"
            f" {number_of_bytes(machine.disk)} free: lower activations.tokens, study fewer layers"
            " (activations.layers), let shards pass by (activations.keep: false), or write to"
            " another disk (snakemake --directory)."
        )
    for remedy, rules in _REMEDIES.items():
        wanted_by = {
            rule: price.memory[rule]
            for rule in rules
            if rule in price.jobs and price.memory[rule] > machine.memory
        }
        if wanted_by:
            yield (
                f"Warning: a job of {' or '.join(wanted_by)} wants about"
                f" {number_of_bytes(max(wanted_by.values()))} of memory, and this machine has"
                f" {number_of_bytes(machine.memory)}: {remedy}."
            )
    largest = max(price.memory[rule] for rule in price.memory if rule in price.jobs)
    fit = machine.memory // largest
    if 1 <= fit < n_jobs:
        yield (
            f"Warning: {n_jobs} jobs at once want {number_of_bytes(n_jobs * largest)} of memory,"
            f" and this machine has {number_of_bytes(machine.memory)}: start fewer (--cores {fit})."
        )


def _saes_and_seeds(n_saes: int, n_seeds: int, about: str = "") -> str:
    return f"{counted(n_saes, 'SAE')}{about} x {counted(n_seeds, 'seed')}"


def _hours(price: Forecast, rates: Rates) -> dict[str, float]:
    """Of one device, by rule."""
    n_shards, n_trainings = (
        sum(price.jobs.get(rule, 0) for rule in rules)
        for rules in (("cache_activations", "cache_window"), ("train_sae", "train_sae_window"))
    )
    return {
        "cache_activations": rates.caching_hours(price.caching_flops, n_shards),
        "train_sae": rates.training_hours(price.training_flops, n_trainings),
    }


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows in columns as wide as they need, each aligned to its side (< or >)."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths)).rstrip()
        for row in rows
    ]


def number_of_bytes(number: float) -> str:
    """With its unit: 12 kB, 3.4 GB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"


def _time(hours: float) -> str:
    seconds = 3600 * hours
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{hours:,.1f} h"
