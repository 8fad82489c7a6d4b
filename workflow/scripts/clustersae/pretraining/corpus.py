"""The text of a language model that is trained here: toy English, a named corpus, or characters."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clustersae.corpora import characters, toy_english
from clustersae.corpora.build import Corpus, documents, packed
from clustersae.corpora.named import ANY, NAMED, cache_folder
from clustersae.corpora.obtain import obtain
from clustersae.corpora.tokenizer import character_tokenizer, word_tokenizer
from clustersae.corpora.tokens import SPLITS
from clustersae.corpora.toy_factors import factor_table
from clustersae.runtime.errors import InputError


def build(settings: Mapping[str, Any], n_ctx: int) -> Corpus:
    """Build the corpus that the configuration describes, with a tokenizer of its own.

    Args:
        settings: the section `corpus` of a language model.

    Raises:
        InputError: the text cannot be read, or there is too little of it.
    """
    match settings["source"]:
        case "toy-english":
            return _toy_english(settings["rows"], settings["seed"], n_ctx)
        case "named":
            return _named(settings, n_ctx)
        case _:
            return _characters(settings, n_ctx)


def _toy_english(n_rows: Mapping[str, int], seed: int, n_ctx: int) -> Corpus:
    if n_ctx < toy_english.MAX_ROW_LENGTH:
        raise InputError(
            f"Toy English has rows of up to {toy_english.MAX_ROW_LENGTH} tokens and n_ctx is"
            f" {n_ctx}: set n_ctx to {toy_english.MAX_ROW_LENGTH} or more."
        )
    loaded = word_tokenizer()
    ids = loaded.tokenizer.get_vocab()
    vocabulary = loaded.vocabulary
    assert vocabulary.bos_id is not None, "every row of toy English begins with it"
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
    for piece in documents(settings):
        alphabet.update(piece)
        n_characters += len(piece)
        if settings["max_tokens"] is not None and n_characters >= settings["max_tokens"]:
            break
    corpus = packed(settings, n_ctx, character_tokenizer(alphabet))
    # The model is trained on these very rows: what comes after their BOS is its to predict.
    return dataclasses.replace(corpus, inside={})
