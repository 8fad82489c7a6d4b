"""A corpus: the rows of each split, the tokenizer that reads them, and where they come from."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from clustersae.corpora.likeness import surprises, warn_of_difference
from clustersae.corpora.packing import Digest, Layout, pack, rows_of, split_rows
from clustersae.corpora.text import (
    dataset_documents,
    dataset_tokens,
    jsonl_documents,
    pieces_of,
    text_documents,
)
from clustersae.corpora.tokenizer import LoadedTokenizer
from clustersae.corpora.tokens import SPLITS, TokenFile, write_tokens
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json
from clustersae.runtime.log import Progress
from clustersae.runtime.words import counted

logger = logging.getLogger(__name__)


class CorpusFiles(NamedTuple):
    """Where the parts of every corpus are written."""

    train: Path
    validation: Path
    test: Path
    summary: Path


@dataclass(frozen=True)
class Corpus:
    """The rows of each split, the tokenizer that reads them, and where they come from."""

    rows: dict[str, Tensor]  # int32 [n_rows, n_ctx]; uint8 of a named corpus
    loaded: LoadedTokenizer
    source: str
    # of the text, UTF-8, as it was read: without separators and field names; of a named corpus,
    # of its file
    source_sha256: str
    factors: pd.DataFrame | None = None  # of toy English, see toy_factors.factor_table
    facts: dict[str, Any] = field(default_factory=dict)  # what corpus.json says beyond that
    # bool [n_rows] of each split, see TokenFile.inside; empty where there are no such rows
    inside: dict[str, Tensor] = field(default_factory=dict)

    def token_file(self, split: str) -> TokenFile:
        return TokenFile(
            self.rows[split],
            self.loaded.vocabulary,
            self.source,
            self.source_sha256,
            self.inside.get(split),
        )

    def summary(self) -> dict[str, Any]:
        """What corpus.json says; n_tokens counts what is analysed, see TokenFile.kept."""
        vocabulary = self.loaded.vocabulary
        files = {split: self.token_file(split) for split in SPLITS}
        return {
            "source": self.source,
            "source_sha256": self.source_sha256,
            **self.facts,
            "tokenizer": vocabulary.tokenizer,
            "vocab_size": vocabulary.vocab_size,
            "bos_id": vocabulary.bos_id,
            "eos_id": vocabulary.eos_id,
            "pad_id": vocabulary.pad_id,
            "excluded_ids": list(vocabulary.excluded_ids),
            "n_ctx": self.rows["train"].shape[1],
            "n_rows": {split: len(file.tokens) for split, file in files.items()},
            "n_tokens": {split: int(file.kept_per_row.sum()) for split, file in files.items()},
        }

    def write(self, files: CorpusFiles, asked: Mapping[str, tuple[str, int]]) -> None:
        """Write the token file of every split, and the summary.

        Args:
            asked: (split, tokens) by the configuration's key: what will be read.

        Raises:
            InputError: there is less text than is asked for; nothing is written then.
        """
        summary = self.summary()
        for key, (split, n_tokens) in asked.items():
            available = summary["n_tokens"][split]
            if available < n_tokens:
                raise InputError(
                    f"The {split} split has {counted(available, 'token')} and {key} asks for"
                    f" {n_tokens}: ask for at most {available}, or make the corpus, or that split,"
                    " larger."
                )
        for split in self.rows:
            write_tokens(getattr(files, split), self.token_file(split))
        write_json(files.summary, summary)
        logger.info("%s: %s rows, %s tokens", self.source, summary["n_rows"], summary["n_tokens"])


def packed(
    settings: Mapping[str, Any],
    n_ctx: int,
    loaded: LoadedTokenizer,
    layout: Layout = Layout.ROW,
    shuffle: int | None = None,
) -> Corpus:
    """The text of a section `corpus`, in full rows, split by its `fractions`.

    Args:
        settings: with source text, jsonl or dataset.
        shuffle: seed of the order of the documents; None leaves it.

    Raises:
        InputError: the text cannot be read, or there is too little of it.
    """
    progress = Progress("Reading text, in bytes", _n_bytes(settings))
    digest = Digest(progress=progress)
    if settings.get("tokenised"):  # a text that a language model is trained on never is
        runs = digest.watch_ids(dataset_tokens(**_dataset(settings)))
        rows = rows_of(loaded, runs, n_ctx, settings["max_tokens"], shuffle)
    else:
        pieces = digest.watch(documents(settings))
        rows = pack(loaded, pieces, n_ctx, layout, settings["max_tokens"], shuffle)
    progress.close()
    shares = (settings["fractions"]["validation"], settings["fractions"]["test"])
    splits = split_rows(rows.tokens, *shares)
    found = surprises(splits, loaded.vocabulary.vocab_size)
    facts = {
        # Tokens that others have laid out are supposed to stand as the model's tokenizer puts them.
        "bos": "auto" if settings.get("tokenised") else str(layout),
        "shuffle": shuffle,
        "n_documents": rows.n_documents,
        "unigram_nats": {split: round(each.nats, 4) for split, each in found.items()},
        "validation_and_test_differ": warn_of_difference(found),
    }
    # Of the layouts only this one has a BOS where the text has none.
    inside = split_rows(rows.inside, *shares) if layout is Layout.ROW else {}
    name = _source_name(settings)
    return Corpus(splits, loaded, name, digest.sha256, facts=facts, inside=inside)


def layout_of(asked: str, loaded: LoadedTokenizer) -> Layout:
    """The layout that `corpus.bos` stands for: `auto` does as the tokenizer does by itself.

    Raises:
        InputError: a BOS is asked for and the tokenizer has none.
    """
    if asked == "auto":
        return Layout.DOCUMENT if loaded.adds_bos else Layout.NONE
    if asked != Layout.NONE and loaded.vocabulary.bos_id is None:
        raise InputError(
            f"corpus.bos is {asked}, but the tokenizer of {loaded.vocabulary.tokenizer} has no"
            " beginning-of-sequence token: write auto or none."
        )
    return Layout(asked)


def documents(settings: Mapping[str, Any]) -> Iterator[str]:
    """The documents of a text, one after the other; long ones in pieces, see `Continued`."""
    encoding = settings["encoding"]
    match settings["source"]:
        case "text":
            return text_documents(settings["files"], settings["separator"], encoding)
        case "jsonl":
            whole = jsonl_documents(settings["files"], settings["field"], encoding)
        case _:
            whole = dataset_documents(**_dataset(settings))
    return chain.from_iterable(map(pieces_of, whole))


def _dataset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section `corpus` that say what is read of which dataset."""
    return {key: settings[key] for key in ("dataset", "split", "field", "subset", "revision")}


def _n_bytes(settings: Mapping[str, Any]) -> int | None:
    """Of the files that are read; None for a dataset. What is no file is refused by its reader."""
    files = [Path(file) for file in settings["files"]]
    return sum(file.stat().st_size for file in files if file.is_file()) or None


def _source_name(settings: Mapping[str, Any]) -> str:
    if settings["source"] == "dataset":
        parts = [settings["dataset"], settings["subset"], settings["split"], settings["revision"]]
        return "dataset " + " ".join(part for part in parts if part)
    return ", ".join(str(path) for path in settings["files"])
