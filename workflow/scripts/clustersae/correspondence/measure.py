"""Whether latents of two SAEs are the same: do they write the same direction, fire together?

A pairing gives latents of one SAE their partners in another. Of every pair, both latents alive:

    cosine       of the two decoder rows
    jaccard      |A ∩ B| / |A ∪ B| with A and B the sets of tokens on which the two latents fire
    correlation  Pearson's, of their activations over all tokens

The SAEs may read different layers: row i of every layer of a shard is the same token. A latent is
alive if it fires on at least one of the tokens.

SAEs that were specialised from one root are paired by index. Independent ones have no common
index, so they are matched one to one on decoder cosine, which is the best relabelling of them.
SAEs of two seeds have an `agreement` beside that, which asks for no partner of one's own.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from clustersae.correspondence.measures import CORRESPONDENCE_MEASURES as MEASURES
from clustersae.latents.code import Code, counts
from clustersae.latents.layer_pairs import layer_pairs
from clustersae.latents.matching import HUNGARIAN_LIMIT, assign


class Pairing(NamedTuple):
    """Latents of one SAE and their partners in another, both alive."""

    own: np.ndarray  # int [n_pairs]
    other: np.ndarray  # int [n_pairs]
    method: str  # index, hungarian, greedy or random
    n_either: int  # pairs of which at least one latent is alive


def by_index(a: Code, b: Code) -> Pairing:
    """Every latent with the one of the same index."""
    return _fixed(a, b, np.arange(len(a.decoder)), np.arange(len(a.decoder)), "index")


def at_random(a: Code, b: Code, generator: np.random.Generator) -> Pairing:
    """Every latent with one of another index, along a random cycle: what chance gives."""
    order = generator.permutation(len(a.decoder))
    return _fixed(a, b, order, np.roll(order, 1), "random")


def _fixed(a: Code, b: Code, own: np.ndarray, other: np.ndarray, method: str) -> Pairing:
    live, other_live = a.live[own], b.live[other]
    both = live & other_live
    return Pairing(own[both], other[both], method, int((live | other_live).sum()))


def matched(a: Code, b: Code, limit: int = HUNGARIAN_LIMIT) -> Pairing:
    """Live latents one to one, with the largest sum of decoder cosines (see `matching.assign`).

    Dead latents are left out beforehand, so that none is spent on a partner that never fires.
    """
    live, other_live = np.flatnonzero(a.live), np.flatnonzero(b.live)
    own, other, method = assign(a.decoder[live] @ b.decoder[other_live].T, limit)
    return Pairing(live[own], other_live[other], method, max(len(live), len(other_live)))


def compare(a: Code, b: Code, pairing: Pairing) -> dict[str, Any]:
    """Measures of a pairing, means over its pairs; NaN if it has none.

    `jaccard_weighted` is Σ|A ∩ B| / Σ|A ∪ B| over pairs: latents count by how often they fire.
    `share_alive` is the share of pairs with both latents alive among those with at least one.
    """
    own, other, method, n_either = pairing
    result = {
        "matching": method,
        "n_tokens": a.activations.shape[0],
        "n_latents": len(own),
        "share_alive": len(own) / n_either if n_either else np.nan,
        "agreement": np.nan,  # of seeds alone
    }
    if not len(own):
        return result | dict.fromkeys(MEASURES, np.nan)
    cosine = (a.decoder[own] * b.decoder[other]).sum(1).cpu().numpy()
    x, y = a.activations[:, own], b.activations[:, other]
    product = sparse.csr_array(x.multiply(y))
    together = counts(product)
    either = counts(x) + counts(y) - together
    values = (
        cosine.mean(),
        (cosine > 0.9).mean(),
        (together / either).mean(),
        together.sum() / either.sum(),
        _correlation(x, y, product).mean(),
    )
    return result | {name: float(value) for name, value in zip(MEASURES, values)}


@torch.no_grad()
def agreement(a: Code, b: Code) -> float:
    """How far two dictionaries have the same features, 1 if one relabels the other.

    The mean over live latents of the cosine with the most similar live latent of the other SAE,
    each weighted by how often it fires; the mean of both ways. Several latents may have the same
    nearest one, so a feature that is split in two counts as found. NaN if either SAE is silent.
    """
    live, other_live = np.flatnonzero(a.live), np.flatnonzero(b.live)
    if not len(live) or not len(other_live):
        return np.nan
    cosines = a.decoder[live] @ b.decoder[other_live].T
    ways = (
        np.average(cosines.amax(axis).cpu().numpy(), weights=counts(code.activations)[chosen])
        for axis, code, chosen in ((1, a, live), (0, b, other_live))
    )
    return float(np.mean(list(ways)))


def specialised_rows(
    before: Mapping[int, Code], now: Mapping[int, Code], generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Comparisons within the SAEs that were specialised from one root.

    Kinds: `ancestor` (a specialised SAE and the root on its layer), `siblings` (two of them),
    `shared` (the root with itself, on the two layers: the siblings before they were specialised)
    and `shuffled` (siblings paired at random). Between seeds, see `seed_rows`.

    Args:
        before: code of the root, by layer.
        now: code of each layer's own SAE.
        generator: of the random pairings.
    """
    for layer in now:
        a, b = before[layer], now[layer]
        yield _row("ancestor", layer, layer, compare(a, b, by_index(a, b)))
    for i, j in combinations(now, 2):
        a, b = now[i], now[j]
        yield _row("siblings", i, j, compare(a, b, by_index(a, b)))
        yield _row("shuffled", i, j, compare(a, b, at_random(a, b, generator)))
        a, b = before[i], before[j]
        yield _row("shared", i, j, compare(a, b, by_index(a, b)))


def same_start_rows(codes: Mapping[int, Code]) -> Iterator[dict[str, Any]]:
    """`same_start`: SAEs of two layers, trained from scratch with one seed, index by index.

    A seed gives the SAE of every layer the same random start and the same order of tokens. This is
    how much correspondence by index that alone leaves.
    """
    for i, j in combinations(codes, 2):
        a, b = codes[i], codes[j]
        yield _row("same_start", i, j, compare(a, b, by_index(a, b)))


def independent_rows(
    codes: Mapping[int, Code], others: Mapping[int, Code], generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """`independent`: SAEs of two layers and of different seeds, trained from scratch, matched.

    Of many layers, a sample of their pairs: matching takes minutes where pairing by index does not.
    """
    for i, j in layer_pairs(codes, generator):
        a, b = codes[i], others[j]
        yield _row("independent", i, j, compare(a, b, matched(a, b)))


def seed_rows(
    kind: str, codes: Mapping[int, Code], others: Mapping[int, Code], limit: int = HUNGARIAN_LIMIT
) -> Iterator[dict[str, Any]]:
    """SAEs of one layer and two seeds, matched, and their agreement: "the same" between runs.

    Kinds: `independent_seed` (trained from scratch for one layer), `specialised_seed`, and
    `root_seed` (what they started from, on each layer).
    """
    for layer in codes:
        a, b = codes[layer], others[layer]
        measured = compare(a, b, matched(a, b, limit)) | {"agreement": agreement(a, b)}
        yield _row(kind, layer, layer, measured)


def _row(kind: str, layer: int, other_layer: int, result: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "layer": layer, "other_layer": other_layer, **result}


def _correlation(x: sparse.csr_array, y: sparse.csr_array, product: sparse.csr_array) -> np.ndarray:
    """Pearson correlation of every column of x with that of y; 0 where one never varies."""
    n_tokens = x.shape[0]
    covariance = product.sum(0) - x.sum(0) * y.sum(0) / n_tokens
    squares = ((each.multiply(each).sum(0), each.sum(0)) for each in (x, y))
    variance, other_variance = (square - total**2 / n_tokens for square, total in squares)
    scale = np.sqrt(variance.clip(0) * other_variance.clip(0))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
