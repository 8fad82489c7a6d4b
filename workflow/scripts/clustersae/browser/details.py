"""Everything of a latent but the list's columns, in chunks that are loaded when looked at.

A chunk holds latents of one group whose indices have one quotient by the chunk's size, the same
for all groups: what became of a latent in several groups is found by the same number. It is

    words     tokens that the chunk speaks of, each once; elsewhere they are numbers in this list
    latents   by latent: [index, layers], a layer being what `_layer` gives

and the page names the places in these lists (browser.js, `LAYER`).
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from clustersae.browser.pieces import number

#: Latents on layers of a chunk, about: a few hundred kilobytes.
CHUNK = 600


def chunk_size(n_layers: int) -> int:
    """Latents of a chunk, for groups that serve up to so many layers."""
    return max(8, CHUNK // n_layers)


class Contexts(NamedTuple):
    """The contexts of a group in which its latents are active, by latent, layer and rank."""

    latent: np.ndarray  # [n_contexts], as are the next three
    layer: np.ndarray
    sequence: np.ndarray
    first: np.ndarray  # of its tokens among all, with the end of the last one appended
    token: np.ndarray  # [n_tokens], into words
    activation: np.ndarray  # [n_tokens]
    words: list[str]

    def peaks(self) -> Iterator[tuple[int, Iterator[str]]]:
        """Every latent with the tokens at which it is most active, its best context first."""
        spans = zip(self.latent.tolist(), self.first[:-1], self.first[1:])
        tops = (
            (latent, start + int(self.activation[start:stop].argmax()))
            for latent, start, stop in spans
        )
        for latent, own in groupby(tops, key=lambda pair: pair[0]):
            # The strongest first, over all layers.
            places = sorted((place for _, place in own), key=lambda place: -self.activation[place])
            yield latent, (self.words[self.token[place]] for place in places)


def read_contexts(table: pa.Table, n_contexts: int) -> Contexts:
    """The contexts of one group, `n_contexts` per latent and layer at most.

    Args:
        table: its rows of contexts.parquet, of one seed.
    """
    active = (table["activation"].to_numpy() > 0) & (table["rank"].to_numpy() < n_contexts)
    table = table.filter(pa.array(active))
    table = table.sort_by([(name, "ascending") for name in ("latent", "layer", "rank")])
    tokens = pa.chunked_array(table["tokens"]).combine_chunks()
    values = pa.chunked_array(table["activations"]).combine_chunks()
    coded = tokens.flatten().dictionary_encode()
    sizes = np.diff(tokens.offsets.to_numpy()) if len(tokens) else np.empty(0, dtype=np.int64)
    return Contexts(
        table["latent"].to_numpy(),
        table["layer"].to_numpy(),
        table["sequence"].to_numpy(),
        np.append(0, np.cumsum(sizes)),
        coded.indices.to_numpy(),
        values.flatten().to_numpy(),
        coded.dictionary.to_pylist(),
    )


class Group(NamedTuple):
    """Rows of one group and seed."""

    by_layer: pd.DataFrame  # of layers.parquet
    rules: pd.DataFrame  # of rules.parquet
    directions: pd.DataFrame  # of directions.parquet
    judge: pd.DataFrame  # of scores.csv
    contexts: Contexts


class _Words:
    """Numbers of words, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, word: str) -> int:
        return self.numbers.setdefault(word, len(self.numbers))


def chunks(group: Group, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number and content of every chunk that has a latent that fires."""
    fires = group.by_layer[group.by_layer["firing_rate"] > 0]
    by_layer = _by_key(fires)
    rules, directions = _by_key(group.rules), _by_key(group.directions)
    spans = _spans(group.contexts)
    scores: dict[tuple[int, int], dict[str, float]] = {}
    for row in group.judge.to_dict("records"):
        key = (row["latent"], row["layer"])
        scores.setdefault(key, {})[row["kind"]] = row["balanced_accuracy"]
    keys = sorted(by_layer)
    for chunk, own in groupby(keys, key=lambda key: key[0] // size):
        words = _Words()
        latents = []
        for latent, of_latent in groupby(own, key=lambda key: key[0]):
            layers = [
                _layer(
                    by_layer[key],
                    rules.get(key),
                    directions.get(key),
                    [_context(group.contexts, place, words) for place in spans.get(key, ())],
                    scores.get(key, {}),
                    words,
                )
                for key in of_latent
            ]
            latents.append([latent, layers])
        yield chunk, {"words": list(words.numbers), "latents": latents}


def _by_key(frame: pd.DataFrame) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["latent"], row["layer"]): row for row in frame.to_dict("records")}


def _spans(contexts: Contexts) -> dict[tuple[int, int], list[int]]:
    """The places of every latent and layer's contexts."""
    found: dict[tuple[int, int], list[int]] = {}
    for place, key in enumerate(zip(contexts.latent.tolist(), contexts.layer.tolist())):
        found.setdefault(key, []).append(place)
    return found


def _layer(
    numbers: Mapping[str, Any],
    rule: Mapping[str, Any] | None,
    direction: Mapping[str, Any] | None,
    contexts: list[list[Any]],
    scores: Mapping[str, float],
    words: _Words,
) -> list[Any]:
    """What is known of a latent on one layer.

    [layer, P(layer), firing rate, mean activation when active, contexts,
     rule: [[token, previous or null or "" for a row's start], …, accuracies, where it holds],
     promoted: [tokens, effects], suppressed: [tokens, effects], nearest: [latents, cosines],
     cosine to what it started from, detection, fuzzing]; null for what is not known.
    """
    told = None
    if rule is not None:
        pairs = zip(rule["tokens"], rule["previous"])
        clauses = [[words(token), before if not before else words(before)]
                   for token, before in pairs]  # fmt: skip
        told = [clauses, [number(value) for value in rule["accuracy"]],
                [int(each) for each in rule["holds"]]]  # fmt: skip
    promoted = suppressed = nearest = start = None
    if direction is not None:
        promoted, suppressed = (
            [[words(token) for token in direction[name]],
             [number(value) for value in direction[f"{name}_effect"]]]
            for name in ("promoted", "suppressed")
        )  # fmt: skip
        cosines = [number(value) for value in direction["cosine"]]
        nearest = [[int(latent) for latent in direction["nearest"]], cosines]
        start = number(direction["start_cosine"])
    return [
        numbers["layer"],
        *(number(numbers[name]) for name in ("p_layer", "firing_rate", "mean_activation")),
        *(contexts, told, promoted, suppressed, nearest, start),
        *(number(scores.get(kind, np.nan)) for kind in ("detection", "fuzzing")),
    ]


def _context(contexts: Contexts, place: int, words: _Words) -> list[Any]:
    """[sequence, tokens, where it is active: place, activation, place, activation, …]."""
    start, stop = contexts.first[place], contexts.first[place + 1]
    tokens = [words(contexts.words[token]) for token in contexts.token[start:stop]]
    values = contexts.activation[start:stop]
    active: list[float | int | None] = []
    for offset in np.flatnonzero(values).tolist():
        active += [offset, number(float(values[offset]))]
    return [int(contexts.sequence[place]), tokens, active]
