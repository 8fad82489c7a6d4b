"""Everything of a latent but the list's columns, in chunks that are loaded when looked at.

A chunk holds latents of one group whose indices have one quotient by the chunk's size, the same
for all groups: what became of a latent in several groups is found by the same number. It is

    words     tokens that the chunk speaks of, each once; elsewhere they are numbers in this list
    latents   by latent: [index, layers], a layer being what `_layer` gives

and the page names the places in these lists (browser.js, `LAYER`).
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from clustersae.browser.contexts import Contexts
from clustersae.browser.pieces import number
from clustersae.browser.reading import Rows

#: Latents on layers of a chunk, about: a few hundred kilobytes.
CHUNK = 600


def chunk_size(n_layers: int) -> int:
    """Latents of a chunk, for groups that serve up to so many layers."""
    return max(8, CHUNK // n_layers)


class _Words:
    """Numbers of words, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, word: str) -> int:
        return self.numbers.setdefault(word, len(self.numbers))


def chunks(rows: Rows, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number and content of every chunk that has a latent that fires."""
    by_layer = _by_key(rows.by_layer[rows.by_layer["firing_rate"] > 0])
    rules, directions = _by_key(rows.rules), _by_key(rows.directions)
    contexts, spans = rows.contexts, rows.contexts.spans()
    scores: dict[tuple[int, int], dict[str, float]] = {}
    for row in rows.judge.to_dict("records"):
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
                    [_context(contexts, place, words) for place in spans.get(key, ())],
                    scores.get(key, {}),
                    words,
                )
                for key in of_latent
            ]
            latents.append([latent, layers])
        yield chunk, {"words": list(words.numbers), "latents": latents}


def _by_key(frame: pd.DataFrame) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["latent"], row["layer"]): row for row in frame.to_dict("records")}


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
