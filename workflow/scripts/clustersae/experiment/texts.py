"""A section `corpus` of the configuration: its text is found, or refused before any job."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clustersae.experiment.paths import RULE, located
from clustersae.experiment.schema import Schema, filled
from clustersae.runtime.errors import InputError

#: Sources that are files.
OF_FILES = ("text", "jsonl")
#: Keys that some sources read → these.
READ_BY = {
    **dict.fromkeys(("files", "encoding"), OF_FILES),
    "separator": ("text",),
    "field": ("jsonl", "dataset"),
    **dict.fromkeys(("dataset", "subset", "split", "revision", "tokenised"), ("dataset",)),
    **dict.fromkeys(("name", "path", "cache", "checksum"), ("named",)),
    **dict.fromkeys(("rows", "seed"), ("toy-english",)),
    "fractions": (*OF_FILES, "dataset"),
    "max_tokens": (*OF_FILES, "dataset", "named"),  # of which it says more
}
#: How files begin that are no text, whatever encoding is named for them.
_PACKED = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"%PDF-": "a PDF",
    b"\x1f\x8b\x08": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"PK\x03\x04": "a zip archive",
    **{b"BZh%d1AY&SY" % level: "compressed by bzip2" for level in range(1, 10)},
}
#: What to do with a file that a dataset may be made of.
AS_DATASET = "put it into a folder of its own and give that folder as a dataset"
#: What to write for an encoding that is unknown.
ENCODINGS = "Write a name that Python knows, such as utf-8, latin-1, cp1252 or utf-16."


def locate_text(corpus: dict[str, Any], folders: Sequence[str | Path]) -> None:
    """Make paths such as jobs can open, in place; a dataset is a path only where there is one."""
    corpus["files"] = [located(file, folders) for file in corpus["files"]]
    if corpus["dataset"]:
        dataset = located(corpus["dataset"], folders)
        corpus["dataset"] = dataset if os.path.exists(dataset) else corpus["dataset"]


def check_keys(where: str, corpus: Mapping[str, Any], rules: Schema) -> None:
    """Refuse keys that the corpus's source does not read; at their defaults they say nothing.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2.corpus`.
        rules: the schema, with the section `corpus`.

    Raises:
        InputError: names the key.
    """
    source, nothing = corpus["source"], filled({}, rules["$defs"]["corpus"], rules)
    for key, sources in READ_BY.items():
        if source not in sources and key in nothing and corpus[key] != nothing[key]:
            raise InputError(
                f"{where}.{key} is for a corpus of source {' or '.join(sources)}, and this is of"
                f" source {source}: take it out, or correct source. Where it comes from another"
                f" file, write its default, {key}: {json.dumps(nothing[key])}."
            )


def check_text(where: str, corpus: Mapping[str, Any]) -> None:
    """Refuse a corpus of text, jsonl or dataset whose text is not there.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2.corpus`.

    Raises:
        InputError: names the key and the remedy.
    """
    source = corpus["source"]
    if source in OF_FILES:
        if not is_encoding(corpus["encoding"]):
            raise InputError(f"{where}.encoding: there is no {corpus['encoding']!r}. {ENCODINGS}")
        if not corpus["files"]:
            raise InputError(f"{where}.files is empty: a {source} corpus needs at least one file.")
        for file in corpus["files"]:
            if not os.path.isfile(file):  # Path would fail at a name too long
                raise InputError(f"{where}.files: {file} does not exist or is no file. {RULE}")
            if os.path.getsize(file) == 0:
                raise InputError(f"{where}.files: {file} is empty: remove it from the list.")
            check_unpacked(f"{where}.files: {file}", file)
        check_repeats(f"{where}.files", corpus["files"])
    if source == "dataset" and not corpus["dataset"]:
        raise InputError(f"{where}.dataset is missing: source dataset needs a name or a path.")
    if source == "dataset" and os.path.isfile(corpus["dataset"]):
        raise InputError(f"{where}.dataset: {corpus['dataset']} is a file: {AS_DATASET}.")
    if corpus.get("tokenised") and corpus["bos"] in ("row", "document"):
        raise InputError(
            f"{where}.bos is {corpus['bos']}, but tokens of a tokenised dataset are taken as they"
            " are: write auto."
        )


def check_unpacked(where: str, file: str | Path) -> None:
    """Refuse a file that is compressed, or of another format: its bytes would pass as latin-1.

    Raises:
        InputError: says after `where` what it is, and the remedy.
    """
    with open(file, "rb") as opened:
        start = opened.read(max(map(len, _PACKED)))
    for mark, kind in _PACKED.items():
        if start.startswith(mark):
            raise InputError(
                f"{where} is no text but {kind}: unpack or convert it, or {AS_DATASET}"
                " (corpus.source)."
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


def is_encoding(name: str) -> bool:
    """Whether Python knows an encoding of text by this name; hex, say, is none of text."""
    try:
        "".encode(name)
    except (LookupError, ValueError):  # as of a name with a NUL, and of `undefined`
        return False
    return True
