"""Everything that is measured of one group, layer by layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from scipy import sparse

from clustersae.features.baseline import LIVE_STEP, Baseline
from clustersae.features.contexts import Windows, context_table, find_places, windows_of
from clustersae.features.coverage import Candidates, Predicates, best_latents, find_predicates
from clustersae.features.matched import Alone
from clustersae.features.meaning import (
    KEPT_COLUMNS,
    MEANING_COLUMNS,
    SWEEP_COLUMNS,
    Evidence,
    gather,
    kept_row,
    meaning_rows,
    rule_table,
    score,
    sweep_rows,
)
from clustersae.features.rules import Clauses, find_clauses, firings_of
from clustersae.features.similarity import SIMILARITY_COLUMNS, similarity_rows
from clustersae.features.spread import latent_table, layer_spread, layer_table
from clustersae.latents.code import Code
from clustersae.latents.groups import Group
from clustersae.latents.sequences import Text
from clustersae.latents.words import Words, read_words
from clustersae.sae.storage import load_sae


@dataclass(frozen=True)
class FeatureSettings:
    """`evaluation.features` of the configuration."""

    tokens: int = 20000
    """Tokens read of the validation and of the test split, in whole sequences."""
    max_clauses: int = 10
    """Clauses of a rule, at most."""
    min_firings: int = 20
    """Tokens of either split at which a latent must fire, and be silent, to be explained."""
    contexts: int = 8
    """Contexts kept per latent and layer."""
    context_tokens: int = 16
    """Tokens of a context."""


class Material(NamedTuple):
    """Two texts, what is known of them before any SAE has read them, and how to measure."""

    validation: Text  # what rules are fitted to and latents chosen on
    test: Text  # what everything is measured on
    words: Words  # of the test text, as are the windows
    spelling: dict[int, str]  # text of the tokens in clauses
    windows: Windows
    clauses: Clauses
    validation_held: sparse.csr_array  # where clauses hold, [n_tokens, n_clauses]
    test_held: sparse.csr_array
    predicates: Predicates | None  # None but for toy English
    settings: FeatureSettings
    seed: int  # of everything random


def prepare(
    validation: Text,
    test: Text,
    tokenizer: Path,
    factors: pd.DataFrame | None,
    settings: FeatureSettings,
    seed: int,
) -> Material:
    """Find the windows, clauses and predicates of two texts.

    Args:
        tokenizer: tokenizer.json, which says what tokens look like.
        factors: `corpora.toy_factors.factor_table`, where the text is toy English.
    """
    clauses, (validation_held, test_held) = find_clauses([validation, test])
    words = read_words(tokenizer, test.token)
    ids = np.concatenate([clauses.token, clauses.previous[clauses.previous >= 0]])
    spelling = dict(zip(np.unique(ids).tolist(), read_words(tokenizer, ids).strings))
    predicates = None if factors is None else find_predicates(factors, validation, test)
    windows = windows_of(test, settings.context_tokens)
    return Material(
        *(validation, test, words, spelling, windows, clauses, validation_held, test_held),
        *(predicates, settings, seed),
    )


class Measured(NamedTuple):
    """What was found of a group."""

    tables: dict[str, pd.DataFrame]  # latents, layers, rules, meaning, kept, sweep, similarity
    candidates: list[Candidates]  # of every layer, for the predicates of toy English
    alone: dict[int, Alone]  # layer → its SAE, of a group that serves one layer


def measure_group(
    group: Group,
    material: Material,
    baseline: Baseline,
    label: Mapping[str, Any],
    write: Callable[[pa.Table], None],
    where: torch.device,
) -> Measured:
    """Measure the latents of a group on all its layers; only its test activations are all held.

    Args:
        label: variant, partition and seed, the first columns of contexts.
        write: takes the contexts of each layer.
    """
    activations: dict[int, sparse.csr_array] = {}
    evidence: dict[int, Evidence] = {}
    candidates: list[Candidates] = []
    similarity: list[dict[str, Any]] = []
    text, windows, settings = material.test, material.windows, material.settings
    for trained in group.saes:
        sae = load_sae(trained.folder, where, text.fingerprint)
        for layer in trained.layers:
            generator = _generator(material, group, layer)
            code = text.encode(sae, layer)
            z = activations[layer] = code.activations
            z_validation = material.validation.encode(sae, layer).activations
            evidence[layer] = _evidence(z_validation, z, material)
            if material.predicates is not None:
                best = best_latents(group.name, layer, z_validation, z, material.predicates)
                candidates.append(best)
            similarity += _similarity(code, baseline, group.seed, layer, generator)
            places = find_places(z, text, windows, settings.contexts, generator)
            own = {**label, "cluster": trained.name, "layer": layer}
            write(context_table(own, z, places, text, windows, material.words))
    spread = layer_spread(dict(sorted(activations.items())))
    scores = score(dict(sorted(evidence.items())), _generator(material, group, min(evidence)))
    tables = {
        "latents": latent_table(spread),
        "layers": layer_table(spread),
        "meaning": pd.DataFrame(meaning_rows(scores), columns=MEANING_COLUMNS),
        "kept": pd.DataFrame([kept_row(scores)], columns=KEPT_COLUMNS),
        "sweep": pd.DataFrame(sweep_rows(scores, "index"), columns=SWEEP_COLUMNS),
        "rules": rule_table(
            dict(sorted(evidence.items())), scores, material.clauses, material.spelling
        ),
    }
    for table in tables.values():
        table.insert(0, "group", group.name)
    tables["similarity"] = pd.DataFrame(similarity, columns=SIMILARITY_COLUMNS)
    lone = {layer: Alone(own, trained.folder, code.live) for layer, own in evidence.items()}
    return Measured(tables, candidates, lone if len(lone) == 1 else {})


def _generator(material: Material, group: Group, layer: int) -> np.random.Generator:
    return np.random.default_rng([material.seed, group.seed, layer])


def _evidence(validation: sparse.csr_array, test: sparse.csr_array, material: Material) -> Evidence:
    return gather(
        material.clauses,
        firings_of(validation, material.validation_held),
        firings_of(test, material.test_held),
        material.settings.max_clauses,
        material.settings.min_firings,
    )


def _similarity(
    code: Code, baseline: Baseline, seed: int, layer: int, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """The rows of one layer; `code` is that of the arm's SAE, of the test text."""
    other_seed = baseline.other_seed(seed)
    sample = code._replace(activations=code.activations[::LIVE_STEP])
    rows = similarity_rows(
        sample.decoder[sample.live],
        baseline.live_rows(seed, layer),
        baseline.live_rows(other_seed, layer),
        generator,
    )
    return [{"layer": layer, "other_seed": other_seed} | row for row in rows]
