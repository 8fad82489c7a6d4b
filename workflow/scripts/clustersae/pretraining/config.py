"""The section `language_models`: defaults filled in, mistakes named before any job starts.

Imported by a Snakefile, so it loads nothing heavy.
"""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.corpora.named import ANY, NAMED, NamedCorpus
from clustersae.experiment import schema
from clustersae.experiment.config import Trained, merged
from clustersae.experiment.paths import RULE, located
from clustersae.experiment.texts import check_keys, check_text, locate_text
from clustersae.runtime.errors import InputError

SECTION = "language_models"

#: Files beside the models' folders in results/, logs and benchmarks.
RESERVED_NAMES = (
    "trainings.json",
    "trainings.csv",
    "tabulate_trainings.log",
    "tabulate_trainings.tsv",
)


def load(
    section: Mapping[str, Any],
    schema_file: str | Path,
    folders: Sequence[str | Path] = (),
    command_line: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of every language model that is trained here, by name.

    Args:
        section: `language_models` of the configuration.
        folders: of the configuration files, for relative paths.
        command_line: what the whole configuration has from there, see `schema.typed`.

    Raises:
        InputError: names the key, what was given and what is allowed.
    """
    rules = schema.read(schema_file)
    whole: dict[str, Any] = {SECTION: section}
    if command_line and SECTION in command_line:
        whole = merged(whole, schema.typed({SECTION: command_line[SECTION]}, rules, rules))
    given = schema.checked(whole, rules)[SECTION]
    models = {
        name: schema.filled(each, rules["$defs"]["language_model"], rules)
        for name, each in given.items()
    }
    for name, settings in models.items():
        where = f"config: {SECTION}.{name}"
        if name in RESERVED_NAMES:
            raise InputError(f"{where}: a file is called so; give the model another name.")
        check_keys(f"{where}.corpus", settings["corpus"], rules)
        locate_text(settings["corpus"], folders)
        if settings["corpus"]["path"]:
            settings["corpus"]["path"] = located(settings["corpus"]["path"], folders)
        _check_corpus(f"{where}.corpus", settings["corpus"])
        _check_training(f"{where}.training", settings)
        shape = settings["architecture"]
        if shape["d_model"] % shape["n_heads"]:
            raise InputError(
                f"{where}.architecture: n_heads = {shape['n_heads']} does not divide d_model ="
                f" {shape['d_model']}."
            )
    return models


def known(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Trained]:
    """What can be said of every model before it is trained.

    Args:
        models: as `load` gives them.
    """
    return {
        name: Trained(
            n_layers=settings["architecture"]["n_layers"],
            d_model=settings["architecture"]["d_model"],
            toy_english=is_toy_english(settings),
            max_validation_tokens=_max_validation_tokens(settings["corpus"]),
        )
        for name, settings in models.items()
    }


def is_toy_english(settings: Mapping[str, Any]) -> bool:
    return settings["corpus"]["source"] == "toy-english"


def _max_validation_tokens(corpus: Mapping[str, Any]) -> int | None:
    """Where test is part of validation: the tokens before it, all that may be chosen on.

    The first of every row is not analysed.
    """
    if corpus["source"] != "named":
        return None
    named = NAMED[corpus["name"]]
    bounds = named.bounds(named.n_bytes if not corpus["path"] else _size(corpus))
    if bounds["test"][0] >= bounds["validation"][1]:
        return None
    return (bounds["test"][0] - bounds["validation"][0]) // corpus["n_ctx"] * (corpus["n_ctx"] - 1)


def _check_corpus(where: str, corpus: Mapping[str, Any]) -> None:
    check_text(where, corpus)
    if corpus["source"] != "named":
        return
    if corpus["name"] is None:
        raise InputError(f"{where}.name is missing: write one of {', '.join(NAMED)}.")
    named = NAMED[corpus["name"]]
    if corpus["max_tokens"] is not None:
        raise InputError(
            f"{where}.max_tokens: {named.name} is read as a whole, with the splits of the"
            " literature. Write null, or give part of it as path with checksum: any."
        )
    if corpus["path"] is None and corpus["checksum"] == ANY:
        raise InputError(f"{where}.checksum: any is for a file of your own: name it in path.")
    if corpus["path"] is not None:
        _check_copy(where, named, corpus)


def _size(corpus: Mapping[str, Any]) -> int:
    return Path(corpus["path"]).stat().st_size


def _check_copy(where: str, named: NamedCorpus, corpus: Mapping[str, Any]) -> None:
    """The user's own copy must be a file that can be the corpus."""
    path = Path(corpus["path"])
    if not os.path.isfile(path):
        raise InputError(f"{where}.path: {path} does not exist or is no file. {RULE}")
    if zipfile.is_zipfile(path):
        raise InputError(
            f"{where}.path: {path} is a zip archive. Unpack it and name the file inside."
        )
    if corpus["checksum"] != ANY and _size(corpus) != named.n_bytes:
        raise InputError(
            f"{where}.path: {path} has {_size(corpus)} bytes, but {named.name} as published has"
            f" {named.n_bytes}. Name another file or, if this one is meant, write checksum: any."
        )


def _check_training(where: str, settings: Mapping[str, Any]) -> None:
    training = settings["training"]
    if is_toy_english(settings) and training["sampling"] == "offsets":
        raise InputError(
            f"{where}.sampling: the rows of toy-english are sentences of their own, so there is no"
            " text to cut sequences from; write rows."
        )
    if is_toy_english(settings) and training["record"]:
        raise InputError(
            f"{where}.record is for models of characters: toy-english has no blank to write from."
        )
    if training["seed"] in training["other_seeds"]:
        raise InputError(
            f"{where}.other_seeds has {training['seed']}, which is training.seed: remove it."
        )
    for key in ("other_seeds", "published"):
        if training[key] and not training["record"]:
            raise InputError(
                f"{where}.{key} is for the table of seeds, which nobody has asked for: set"
                f" training.record to true, or leave {key} out."
            )
    if training["published"] not in (None, settings["corpus"]["name"]):
        raise InputError(
            f"{where}.published is {training['published']}, a run on the named corpus"
            f" {training['published']}, and this model reads another text: write published: null,"
            f" or corpus: {{source: named, name: {training['published']}}}."
        )
