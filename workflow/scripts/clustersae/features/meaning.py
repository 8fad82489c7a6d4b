"""Whether a latent means on one layer what it means on another.

A rule is fitted to the latent on layer i in one text and scored on layer j in another. On i = j
it says how well rules explain the latent at all: the ceiling. The same rule, scored on another
latent of layer j, is the floor.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from clustersae.features.rules import ANY, Clauses, Firings, balanced_accuracy, fit_rules
from clustersae.features.shares import KEPT_SHARE, SHARES
from clustersae.latents.sequences import NOTHING

CHANCE = 0.5
#: A rule explains a latent if, on its own layer, it is nearer to certainty than to chance.
EXPLAINED = 0.75

MEANING_COLUMNS = ("layer", "other_layer", "n_latents", "balanced_accuracy", "floor", "ceiling")
RULE_COLUMNS = ("latent", "layer", "tokens", "previous", "accuracy", "holds")
KEPT_COLUMNS = ("n_layers", "n_explained", "n_kept", "share_kept", "n_pairs", "n_pairs_kept")
SWEEP_COLUMNS = ("pairing", "share", "n_pairs", "n_pairs_kept")


class Evidence(NamedTuple):
    """What is known of a group's latents on one layer."""

    rules: sparse.csr_array  # int32 [d_sae, n_clauses], fitted to the first text
    has_rule: np.ndarray  # bool [d_sae], whether the latent fires often enough in both texts
    firings: Firings  # in the second text
    enough: np.ndarray  # bool [d_sae], whether those are often enough to be scored on


def gather(
    clauses: Clauses, fitted: Firings, scored: Firings, n_clauses: int, least: int
) -> Evidence:
    """Fit the rules of one layer.

    Args:
        fitted, scored: firings in the text that rules are fitted to, and in the other.
        n_clauses: of a rule, at most.
        least: tokens at which a latent must fire, and be silent, in a text that counts.
    """
    enough = scored.enough(least)
    rules = fit_rules(clauses, fitted, n_clauses)
    return Evidence(rules, fitted.enough(least) & enough, scored, enough)


class Scores(NamedTuple):
    """Balanced accuracies of the rules of a group, by layer fitted on (i) and scored on (j)."""

    layers: tuple[int, ...]
    of_latents: np.ndarray  # [n_layers i, n_layers j, d_sae]; NaN if too few firings on i or j
    floor: np.ndarray  # [n_layers i, n_layers j], mean; NaN with fewer than two latents

    @property
    def ceiling(self) -> np.ndarray:
        """Of every rule on its own layer, [n_layers, d_sae]."""
        return np.einsum("iid->id", self.of_latents)


def score(
    evidence: Mapping[int, Evidence],
    generator: np.random.Generator,
    partners: Mapping[tuple[int, int], np.ndarray] | None = None,
) -> Scores:
    """Score the rules of every layer of a group on every layer.

    Args:
        partners: (layer, other layer) → latent of the other layer's SAE that stands for each of
            the layer's own, int [d_sae], −1 for none; by index without. Layers that are no key
            are not compared.

    For the floor, latents that are scored take the place of one another along a random cycle.
    """
    layers = tuple(evidence)
    d_sae = len(evidence[layers[0]].enough)
    of_latents = np.full((len(layers), len(layers), d_sae), np.nan)
    floor = np.full((len(layers), len(layers)), np.nan)
    for i, own in enumerate(evidence.values()):
        for j, other in enumerate(evidence.values()):
            partner = np.arange(d_sae)
            if partners is not None and i != j:
                if (layers[i], layers[j]) not in partners:
                    continue
                partner = partners[layers[i], layers[j]]
            latents = np.flatnonzero(own.has_rule & (partner >= 0) & other.enough[partner])
            accuracy = balanced_accuracy(own.rules, other.firings, latents, partner[latents])
            of_latents[i, j, latents] = accuracy
            if len(latents) > 1:
                order = generator.permutation(latents)
                strangers = partner[np.roll(order, 1)]
                floor[i, j] = balanced_accuracy(own.rules, other.firings, order, strangers).mean()
    return Scores(layers, of_latents, floor)


def meaning_rows(scores: Scores) -> list[dict[str, Any]]:
    """One row per pair of layers: means over the latents with enough firings on both.

    `ceiling` is what the rules of the same latents score on `layer` itself.
    """
    rows = []
    for i, layer in enumerate(scores.layers):
        for j, other_layer in enumerate(scores.layers):
            accuracy = scores.of_latents[i, j]
            counted = ~np.isnan(accuracy)
            values = (accuracy[counted], scores.ceiling[i, counted])
            mean, ceiling = (each.mean() if counted.any() else np.nan for each in values)
            measured = (int(counted.sum()), mean, scores.floor[i, j], ceiling)
            rows.append(dict(zip(MEANING_COLUMNS, (layer, other_layer, *measured))))
    return rows


def holds(scores: Scores, share: float = KEPT_SHARE) -> np.ndarray:
    """Whether rules of layer i reach the bound of `kept_row` on layer j, bool [i, j, d_sae]."""
    floor = np.where(np.isnan(scores.floor), CHANCE, scores.floor)[..., None]
    ceiling = scores.ceiling[:, None]
    # A rule that is no better than on a stranger has nothing that could be kept.
    least = np.maximum(floor + share * (ceiling - floor), floor)
    return scores.of_latents >= least


def rule_table(
    evidence: Mapping[int, Evidence], scores: Scores, clauses: Clauses, spelling: Mapping[int, str]
) -> pd.DataFrame:
    """One row per latent and layer with a rule: what rules.parquet says of a group.

    `tokens` and `previous` are the clauses, best first: a token, and the one that it must come
    after: None for any, "" for the start of a row. `accuracy` has the rule's balanced accuracy on
    every layer of the group, ascending, NaN where too few tokens could tell, and `holds` whether
    it reaches the bound of `kept_row` there.

    Args:
        spelling: text of every token in a clause.
    """
    spelled = {ANY: None, NOTHING: "", **spelling}
    reached = holds(scores)
    rows = []
    for i, (layer, own) in enumerate(evidence.items()):
        for latent in np.flatnonzero(own.has_rule):
            chosen = own.rules.indices[own.rules.indptr[latent] : own.rules.indptr[latent + 1]]
            rows.append(
                {
                    "latent": latent,
                    "layer": layer,
                    "tokens": [spelled[token] for token in clauses.token[chosen].tolist()],
                    "previous": [spelled[token] for token in clauses.previous[chosen].tolist()],
                    "accuracy": scores.of_latents[i, :, latent].astype(np.float32),
                    "holds": reached[i, :, latent],
                }
            )
    return pd.DataFrame(rows, columns=RULE_COLUMNS)


def kept_row(scores: Scores) -> dict[str, Any]:
    """How many latents keep their meaning on all layers of the group; NaN if it has but one.

    Explained are latents that fire often enough on all layers and whose rule scores at least
    EXPLAINED on its own layer, for one of the layers or more. Of these, a latent keeps its meaning
    if its rule of every layer i scores on every layer j at least

        floor_ij + KEPT_SHARE · (ceiling_i - floor_ij),

    with its own ceiling_i and the mean floor of the two layers (chance, without another latent).

    The more layers there are, the more often that must hold, by chance too. To compare groups of
    different size there are `n_pairs`, the (latent, i ≠ j) whose rule scores EXPLAINED on its own
    layer and is scored on the other, and `n_pairs_kept`, those of them that reach this bound.
    """
    n_layers = len(scores.layers)
    everywhere = ~np.isnan(scores.of_latents).any((0, 1))
    explained = everywhere & (scores.ceiling >= EXPLAINED).any(0)
    n_explained = int(explained.sum())
    if n_layers == 1:
        return dict(zip(KEPT_COLUMNS, (n_layers, n_explained, *[np.nan] * 4)))
    reached = holds(scores)
    n_kept = int((explained & reached.all((0, 1))).sum())
    pairs = _pairs(scores)
    share = n_kept / n_explained if n_explained else np.nan
    counts = (int(pairs.sum()), int((pairs & reached).sum()))
    return dict(zip(KEPT_COLUMNS, (n_layers, n_explained, n_kept, share, *counts)))


def sweep_rows(
    scores: Scores, pairing: str, weights: Mapping[tuple[int, int], float] | None = None
) -> list[dict[str, Any]]:
    """`n_pairs` and `n_pairs_kept` of `kept_row` for every share in SHARES; none of one layer.

    Args:
        weights: of `layer_pairs`: of a sample, both are estimates of what all layers would give.
    """
    pairs = _pairs(scores)
    n_pairs = _weighed(pairs, scores.layers, weights)
    rows = []
    for share in SHARES if len(scores.layers) > 1 else ():
        kept = _weighed(pairs & holds(scores, share), scores.layers, weights)
        rows.append(dict(zip(SWEEP_COLUMNS, (pairing, share, n_pairs, kept))))
    return rows


def _weighed(
    pairs: np.ndarray, layers: Sequence[int], weights: Mapping[tuple[int, int], float] | None
) -> float:
    """How many are true of [n_layers, n_layers, d_sae], each as often as its layers stand for."""
    counts = pairs.sum(-1)
    if weights is None or set(weights.values()) == {1.0}:
        return int(counts.sum())
    place = {layer: i for i, layer in enumerate(layers)}
    return sum(
        weight * (counts[place[a], place[b]] + counts[place[b], place[a]])
        for (a, b), weight in weights.items()
    )


def _pairs(scores: Scores) -> np.ndarray:
    """Rules that hold at home, and are scored elsewhere: bool [n_layers, n_layers, d_sae]."""
    elsewhere = ~np.eye(len(scores.layers), dtype=bool)[..., None]
    explained = scores.ceiling[:, None] >= EXPLAINED
    return np.asarray(~np.isnan(scores.of_latents) & explained & elsewhere)
