"""The contexts of a group, as arrays."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Contexts(NamedTuple):
    """The contexts of a group in which its latents are active, by latent, layer and rank."""

    latent: np.ndarray  # [n_contexts], as are the next three
    layer: np.ndarray
    sequence: np.ndarray
    first: np.ndarray  # of its tokens among all, with the end of the last one appended
    token: np.ndarray  # [n_tokens], into words
    activation: np.ndarray  # [n_tokens]
    words: list[str]

    @property
    def spaced(self) -> bool:
        """Whether tokens bring the spaces between words."""
        return any(" " in word for word in self.words)

    def spans(self) -> dict[tuple[int, int], list[int]]:
        """By latent and layer, the places of its contexts."""
        found: dict[tuple[int, int], list[int]] = {}
        for place, key in enumerate(zip(self.latent.tolist(), self.layer.tolist())):
            found.setdefault(key, []).append(place)
        return found

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
