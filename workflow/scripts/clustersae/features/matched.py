"""The control of meaning across layers: latents of per-layer SAEs, matched between layers.

SAEs of single layers that were trained apart have no index in common. For every two layers, or a
sample of them (`latents.layer_pairs`), their live latents are matched one to one for the largest
sum of decoder cosines, which is the best that a relabelling can do for decoder directions. What
such pairs keep of their meaning is what latents by index must beat.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clustersae.features.meaning import Evidence, score, sweep_rows
from clustersae.latents.decoders import Decoders
from clustersae.latents.layer_pairs import layer_pairs
from clustersae.latents.matching import assign

#: Most latents of an SAE that are matched optimally: there are up to `layer_pairs.MOST_PAIRS`
#: matchings, and time grows nearly as the cube of latents.
LIMIT = 2048


class Alone(NamedTuple):
    """An SAE of one layer: what is known of its latents."""

    evidence: Evidence
    folder: Path
    live: np.ndarray  # bool [d_sae]


def matched_rows(
    saes: Mapping[int, Alone], decoders: Decoders, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """`meaning.sweep_rows` of the SAEs of several layers, each pair with its own matching."""
    evidence = {layer: sae.evidence for layer, sae in saes.items()}
    pairs = layer_pairs(saes, generator)
    scores = score(evidence, generator, partners(saes, pairs, decoders))
    return sweep_rows(scores, "matched", pairs)


def partners(
    saes: Mapping[int, Alone],
    pairs: Iterable[tuple[int, int]],
    decoders: Decoders,
    limit: int = LIMIT,
) -> dict[tuple[int, int], np.ndarray]:
    """(layer, other layer) → the other's latent of each latent, int [d_sae]; −1 for none."""
    found = {}
    for first, second in pairs:
        a, b = saes[first], saes[second]
        own, other = np.flatnonzero(a.live), np.flatnonzero(b.live)
        cosines = decoders.of(a.folder)[own] @ decoders.of(b.folder)[other].T
        rows, columns, _ = assign(cosines, limit)
        there, back = np.full(len(a.live), -1), np.full(len(b.live), -1)
        there[own[rows]], back[other[columns]] = other[columns], own[rows]
        found[first, second], found[second, first] = there, back
    return found
