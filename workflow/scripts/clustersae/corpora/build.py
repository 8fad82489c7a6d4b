"""A corpus from its section of the configuration."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clustersae.corpora import characters, toy_english
from clustersae.corpora.named import ANY, NAMED, cache_folder
from clustersae.corpora.obtain import obtain
from clustersae.corpora.packing import Digest, pack, split_rows
from clustersae.corpora.text import dataset_documents, jsonl_documents, text_documents, text_pieces
from clustersae.corpora.tokenizer import (
    LoadedTokenizer,
    character_tokenizer,
    model_tokenizer,
    word_tokenizer,
)
from clustersae.corpora.tokens import SPLITS, TokenFile
from clustersae.corpora.toy_factors import factor_table
from clustersae.runtime.errors import InputError


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

    def token_file(self, split: str) -> TokenFile:
        return TokenFile(self.rows[split], self.loaded.vocabulary, self.source, self.source_sha256)

    def summary(self) -> dict[str, Any]:
        """What corpus.json says; n_tokens counts what is analysed, without BOS and padding."""
        vocabulary = self.loaded.vocabulary
        files = {split: self.token_file(split) for split in SPLITS}
        return {
            "source": self.source,
            "source_sha256": self.source_sha256,
            **self.facts,
            "tokenizer": vocabulary.tokenizer,
            "vocab_size": vocabulary.vocab_size,
            "bos_id": vocabulary.bos_id,
            "pad_id": vocabulary.pad_id,
            "excluded_ids": list(vocabulary.excluded_ids),
            "n_ctx": self.rows["train"].shape[1],
            "n_rows": {split: len(file.tokens) for split, file in files.items()},
            "n_tokens": {split: int(file.kept_per_row.sum()) for split, file in files.items()},
        }


def build(settings: Mapping[str, Any], n_ctx: int, model_dir: Path | None = None) -> Corpus:
    """Build the corpus that the configuration describes.

    Args:
        settings: the `corpus` section.
        model_dir: the model whose tokenizer to use where `tokenizer` is "model".

    Raises:
        InputError: the text cannot be read, or there is too little of it.
    """
    if settings["source"] == "toy-english":
        return _toy_english(settings["rows"], settings["seed"], n_ctx)
    if settings["source"] == "named":
        return _named(settings, n_ctx)
    if settings["tokenizer"] == "character":
        return _characters(settings, n_ctx)
    if model_dir is None:
        raise InputError(
            "corpus.tokenizer is 'model', but this model is trained here and has none yet: set"
            " corpus.tokenizer to 'character'."
        )
    return _packed(settings, n_ctx, model_tokenizer(model_dir))


def _toy_english(n_rows: Mapping[str, int], seed: int, n_ctx: int) -> Corpus:
    if n_ctx < toy_english.MAX_ROW_LENGTH:
        raise InputError(
            f"Toy English has rows of up to {toy_english.MAX_ROW_LENGTH} tokens and n_ctx is"
            f" {n_ctx}: set n_ctx to {toy_english.MAX_ROW_LENGTH} or more."
        )
    loaded = word_tokenizer()
    ids = loaded.tokenizer.get_vocab()
    vocabulary = loaded.vocabulary
    sentences = {split: toy_english.take(split, n_rows[split], seed) for split in SPLITS}
    digest = hashlib.sha256()
    rows = {}
    for split in SPLITS:
        array = np.full((n_rows[split], n_ctx), vocabulary.pad_id, dtype=np.int32)
        array[:, 0] = vocabulary.bos_id
        for row, sentence in enumerate(sentences[split]):
            array[row, 1 : len(sentence.words) + 1] = [ids[word] for word in sentence.words]
            digest.update(f"{' '.join(sentence.words)}\n".encode())
        rows[split] = torch.from_numpy(array)
    return Corpus(
        rows, loaded, f"toy-english, seed {seed}", digest.hexdigest(), factor_table(sentences)
    )


def _named(settings: Mapping[str, Any], n_ctx: int) -> Corpus:
    """No BOS and no padding: the rows of a split, one after the other, are its text."""
    corpus = NAMED[settings["name"]]
    own = settings["path"] is not None
    path = Path(settings["path"]) if own else obtain(corpus, cache_folder(settings["cache"]))
    text = characters.read_symbols(path)
    checksum = characters.digest(text, corpus.algorithm)
    if checksum != corpus.checksum and settings["checksum"] != ANY:
        advice = "name another file or, if this one is meant, set corpus.checksum to any"
        raise InputError(
            f"{path} is not {corpus.name} as published ({corpus.algorithm} {checksum} instead of"
            f" {corpus.checksum}): {advice if own else 'delete it and run again'}."
        )
    sha256, letters = characters.digest(text, "sha256"), characters.alphabet(text)
    bounds = corpus.bounds(len(text))
    facts = {
        "name": corpus.name,
        "checksum": {corpus.algorithm: checksum, "as_published": checksum == corpus.checksum},
        "n_bytes": len(text),
        "n_symbols": len(letters),
        "splits": bounds,
    }
    characters.encode(text, letters)  # in place: from here on, ids
    return Corpus(
        characters.rows(text, bounds, n_ctx),
        character_tokenizer(letters.tobytes().decode("latin-1"), with_bos=False),
        f"{corpus.name}, {path if own else corpus.url}",
        sha256,
        facts=facts,
    )


def _characters(settings: Mapping[str, Any], n_ctx: int) -> Corpus:
    """Pass over the text twice: for its alphabet, then for its tokens."""
    alphabet: set[str] = set()
    n_characters = 0
    for piece in _documents(settings):
        alphabet.update(piece)
        n_characters += len(piece)
        if settings["max_tokens"] is not None and n_characters >= settings["max_tokens"]:
            break
    return _packed(settings, n_ctx, character_tokenizer(alphabet))


def _packed(settings: Mapping[str, Any], n_ctx: int, loaded: LoadedTokenizer) -> Corpus:
    digest = Digest()
    documents = digest.watch(_documents(settings))
    separate = not _in_pieces(settings)
    rows = pack(loaded, documents, n_ctx, settings["max_tokens"], separate)
    fractions = settings["fractions"]
    splits = split_rows(rows, fractions["validation"], fractions["test"])
    return Corpus(splits, loaded, _source_name(settings), digest.sha256)


def _in_pieces(settings: Mapping[str, Any]) -> bool:
    """Whether the text is one stream that may be cut anywhere, as characters may."""
    without_separator = settings["source"] == "text" and not settings["separator"]
    return without_separator and settings["tokenizer"] == "character"


def _documents(settings: Mapping[str, Any]) -> Iterator[str]:
    match settings["source"]:
        case "text" if _in_pieces(settings):
            return chain.from_iterable(text_pieces(path) for path in settings["files"])
        case "text":
            return text_documents(settings["files"], settings["separator"])
        case "jsonl":
            return jsonl_documents(settings["files"], settings["field"])
        case _:
            return dataset_documents(
                **{key: settings[key] for key in ("dataset", "split", "field")},
                subset=settings["subset"],
                revision=settings["revision"],
            )


def _source_name(settings: Mapping[str, Any]) -> str:
    if settings["source"] == "dataset":
        parts = [settings["dataset"], settings["subset"], settings["split"], settings["revision"]]
        return "dataset " + " ".join(part for part in parts if part)
    return ", ".join(str(path) for path in settings["files"])
