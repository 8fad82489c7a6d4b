"""`clustersae init`: look, write, and say what was seen and what it will cost."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from clustersae.experiment import config as configuration
from clustersae.experiment.reference import SCHEMAS, WORKFLOW
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_text
from clustersae.setup.costs import MEASUREMENTS, Cost, Rates, estimate, measure_rates
from clustersae.setup.facts import (
    Machine,
    ModelFacts,
    TextFacts,
    look_at_machine,
    look_at_model,
    look_at_text,
)
from clustersae.setup.proposal import as_yaml, model_name, propose, rounded


def init(
    model_place: str,
    texts: Sequence[str],
    output: Path | None = None,
    field: str | None = None,
    force: bool = False,
) -> str:
    """Write a configuration and return what to tell.

    Args:
        output: by default `{name of the model}.yaml` in the current folder.
        field: of the text in JSON Lines and datasets.
        force: replace a file that exists.

    Raises:
        InputError: `output` exists; or model or text cannot be used.
    """
    schema = WORKFLOW / SCHEMAS[0]
    if not schema.is_file():
        raise InputError(f"{schema} does not exist: run this in a checkout of the workflow.")
    output = output or Path(f"{model_name(model_place)}.yaml")
    if output.exists() and not force:
        raise InputError(
            f"{output} exists. Name another file with --output, or replace it with --force."
        )
    model = look_at_model(model_place)
    text = look_at_text(texts, model, field)
    machine = look_at_machine(Path.cwd())
    config = _located(propose(model, text, machine), output)
    written = as_yaml(config, model, text, output)
    if yaml.safe_load(written) != config:
        raise ValueError(f"YAML says something else than {config}")
    (settings,) = configuration.load(config, schema, folders=[output.parent]).values()
    cost = estimate(settings, model)
    rates = measure_rates(settings, model, machine)
    write_text(output, written)
    return "\n".join(_report(model, text, machine, settings, cost, rates, output))


def _located(config: dict[str, Any], output: Path) -> dict[str, Any]:
    """Paths that stay right if Snakemake runs in another folder than this command.

    They are looked for beside the configuration, too; one that is written elsewhere needs whole
    ones.
    """
    if output.resolve().parent == Path.cwd():
        return config
    (settings,) = config["models"].values()
    corpus = settings["corpus"]
    if "path" in settings:
        settings["path"] = os.path.abspath(settings["path"])
    if "files" in corpus:
        corpus["files"] = [os.path.abspath(file) for file in corpus["files"]]
    if "dataset" in corpus and Path(corpus["dataset"]).exists():
        corpus["dataset"] = os.path.abspath(corpus["dataset"])
    return config


def _report(
    model: ModelFacts,
    text: TextFacts,
    machine: Machine,
    settings: Mapping[str, Any],
    cost: Cost,
    rates: Rates,
    output: Path,
) -> Iterator[str]:
    """What was seen, what is proposed, what it costs, and what to do next."""
    yield (
        f"Model {model.place}: {model.n_layers} layers, d_model {model.d_model}, vocabulary"
        f" {model.vocab_size:,}, {model.dtype}."
    )
    yield _about(text)
    yield f"Written: {output}"
    yield ""
    yield from _table(cost)
    yield ""
    yield (
        f"{cost.n_saes} SAEs (arms share some) x {cost.n_seeds} seeds:"
        f" {cost.activations / 1e6:,.3g} million activations with trials of learning rates,"
        f" {cost.flops:.1e} FLOPs."
    )
    cached = sum(settings["activations"]["tokens"].values())
    yield f"Disk: {_bytes(cost.cache_bytes)} of activations of {cached:,} tokens."
    n_jobs = 1 if machine.gpu else machine.cores
    yield f"Memory: about {_bytes(cost.job_bytes + 5e8)} for each of {_jobs(machine)}."
    if n_jobs * cost.job_bytes > machine.memory:
        yield (
            f"This machine has {_bytes(machine.memory)} of memory: start fewer jobs (--cores), or"
            " lower activations.shard_tokens."
        )
    caching, training = cost.seconds(rates, n_jobs)
    least, most = ((caching + training) * (1 + share) for share in MEASUREMENTS)
    yield (
        f"Time, roughly: {_time(caching)} of caching, {_time(training)} of training;"
        f" {_time(least)} to {_time(most)} with measurements. From a rate tried for a second here"
        f" ({rates.training:.1e} FLOP/s for each job): expect a factor of two."
    )
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > machine.cores / 2:
        yield "This machine is busy now, so that it may be faster than it looks."
    yield ""
    gpus = "--resources gpu=" + ("1" if machine.gpu else "0")
    yield f"Look at the file; then:  snakemake --cores all {gpus} --configfile {output}"
    yield "To see every SAE first, add:  --quiet all -- plan"


def _about(text: TextFacts) -> str:
    corpus = text.corpus
    name = corpus["dataset"] if "dataset" in corpus else ", ".join(corpus["files"])
    parts = [] if text.n_bytes is None else [_bytes(text.n_bytes)]
    if text.n_tokens is not None:
        parts.append(f"about {rounded(text.n_tokens):,} tokens")
        if not text.measured:
            parts[-1] += " (four characters each; its tokenizer was not read)"
    if corpus["source"] == "text":
        separator = corpus["separator"]
        parts.append(f"documents between {separator}" if separator else "each file one document")
    else:
        parts.append(f"text in the field {corpus['field']}")
    return f"Text {name}: {', '.join(parts)}."


def _table(cost: Cost) -> Iterator[str]:
    width = max(len(arm.name) for arm in cost.arms)
    yield f"{'arm':{width}}  SAEs  trained  activations of one seed"
    for name, n_saes, n_trained, activations in cost.arms:
        yield f"{name:{width}}  {n_saes:4}  {n_trained:7}  {activations:23,}"


def _jobs(machine: Machine) -> str:
    if machine.gpu:
        return f"the jobs on the GPU ({machine.gpu})"
    return f"{machine.cores} jobs at once" if machine.cores > 1 else "the jobs"


def _bytes(number: float) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
