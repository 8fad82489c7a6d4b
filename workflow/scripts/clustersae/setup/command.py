"""`clustersae init`: look, write, and say what was seen and what it will cost."""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from clustersae.cost.forecast import Forecast, forecast
from clustersae.cost.listing import arms_table, number_of_bytes, totals
from clustersae.cost.rates import Rates
from clustersae.experiment import config as configuration
from clustersae.experiment.reference import SCHEMAS, WORKFLOW
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_text
from clustersae.runtime.machine import Machine
from clustersae.runtime.words import counted
from clustersae.setup.facts import ModelFacts, look_at_machine, look_at_model
from clustersae.setup.proposal import as_yaml, model_name, propose, rounded
from clustersae.setup.sample import TextFacts, look_at_text
from clustersae.setup.speed import measure_rates


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
        InputError: `output` exists or cannot be written; or model or text cannot be used.
    """
    schema = WORKFLOW / SCHEMAS[0]
    if not schema.is_file():
        raise InputError(f"{schema} does not exist: run this in a checkout of the workflow.")
    output = output or Path(f"{model_name(model_place)}.yaml")
    if output.is_dir():
        raise InputError(f"{output} is a folder: name a file in it with --output.")
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
    price = forecast(settings, model.shape(settings["corpus"]["n_ctx"]))
    rates = measure_rates(settings, model, machine)
    try:
        write_text(output, written)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error.strerror}): name another file with --output."
        ) from None
    return "\n".join(_report(model, text, machine, price, rates, output))


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
    price: Forecast,
    rates: Rates,
    output: Path,
) -> Iterator[str]:
    """What was seen, what is proposed, what it costs, and what to do next."""
    yield (
        f"Model {model.place}: {counted(model.n_layers, 'layer')}, d_model {model.d_model},"
        f" vocabulary {model.vocab_size:,}, {model.dtype}."
    )
    yield _about(text)
    yield f"Written: {output}"
    yield ""
    yield from arms_table(price, rates)
    yield ""
    n_jobs = 1 if machine.gpu else machine.cores
    yield from totals(price, rates, machine, n_jobs)
    largest = max(price.memory[rule] for rule in price.memory if rule in price.jobs)
    yield f"Memory: up to {number_of_bytes(largest)} for each of {_jobs(machine)}."
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > machine.cores / 2:
        yield "This machine is busy now, so that it may be faster than it looks."
    yield ""
    gpus = "--resources gpu=" + ("1" if machine.gpu else "0")
    file = shlex.quote(str(output))
    yield f"Look at the file; then:  snakemake --cores all {gpus} --configfile {file}"
    yield "To see every SAE and job first, add:  --quiet all -- plan"


def _about(text: TextFacts) -> str:
    corpus = text.corpus
    first, *others = [corpus["dataset"]] if "dataset" in corpus else corpus["files"]
    name = f"{first} and {len(others)} more" if others else first
    parts = [] if text.n_bytes is None else [number_of_bytes(text.n_bytes)]
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


def _jobs(machine: Machine) -> str:
    if machine.gpu:
        return f"the jobs on the GPU ({machine.gpu})"
    return f"{machine.cores} jobs at once" if machine.cores > 1 else "the jobs"
