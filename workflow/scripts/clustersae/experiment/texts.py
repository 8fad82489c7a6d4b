"""A section `corpus` of the configuration: its text is found, or refused before any job."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.experiment.paths import RULE, located
from clustersae.runtime.errors import InputError


def locate_text(corpus: dict[str, Any], folders: Sequence[str | Path]) -> None:
    """Make paths such as jobs can open, in place; a dataset is a path only where there is one."""
    corpus["files"] = [located(file, folders) for file in corpus["files"]]
    if corpus["dataset"]:
        dataset = located(corpus["dataset"], folders)
        corpus["dataset"] = dataset if Path(dataset).exists() else corpus["dataset"]


def check_text(where: str, corpus: Mapping[str, Any]) -> None:
    """Refuse a corpus of text, jsonl or dataset whose text is not there.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2.corpus`.

    Raises:
        InputError: names the key and the remedy.
    """
    source = corpus["source"]
    if source in ("text", "jsonl"):
        _check_encoding(where, corpus["encoding"])
        if not corpus["files"]:
            raise InputError(f"{where}.files is empty: a {source} corpus needs at least one file.")
        for file in corpus["files"]:
            if not Path(file).is_file():
                raise InputError(f"{where}.files: {file} does not exist or is no file. {RULE}")
            if Path(file).stat().st_size == 0:
                raise InputError(f"{where}.files: {file} is empty: remove it from the list.")
        check_repeats(f"{where}.files", corpus["files"])
    if source == "dataset" and not corpus["dataset"]:
        raise InputError(f"{where}.dataset is missing: source dataset needs a name or a path.")
    if corpus.get("tokenised"):
        if source != "dataset":
            raise InputError(f"{where}.tokenised is for datasets, not for a {source} corpus.")
        if corpus["bos"] in ("row", "document"):
            raise InputError(
                f"{where}.bos is {corpus['bos']}, but tokens of a tokenised dataset are taken as"
                " they are: write auto."
            )


def check_repeats(where: str, files: Sequence[str | Path]) -> None:
    """Refuse a file that is read twice: what is held out of it would be trained on as well.

    Raises:
        InputError: names both, after `where`.
    """
    seen: dict[tuple[int, int], str | Path] = {}
    for file in files:
        fact = os.stat(file)  # of links, of what they lead to
        place = (fact.st_dev, fact.st_ino)
        if place in seen:
            raise InputError(
                f"{where}: {seen[place]} and {file} are the same file, and what is held out of one"
                " would be trained on in the other: take out one of them."
            )
        seen[place] = file


def _check_encoding(where: str, encoding: str) -> None:
    try:
        "".encode(encoding)  # refuses codecs such as hex, which are not of text
    except LookupError:
        raise InputError(
            f"{where}.encoding: there is no encoding {encoding}. Write a name that Python knows,"
            " such as utf-8, latin-1, cp1252 or utf-16."
        ) from None
