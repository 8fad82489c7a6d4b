"""Which latents are judged, and by which of their contexts."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from clustersae.experiment.clusters import family
from clustersae.experiment.judge import LEAST_CONTEXTS
from clustersae.runtime.errors import InputError

#: Contexts of a layer, beside those that the explanation rests on, without which it has no score.
LEAST_HELD_OUT = 2
#: Latents of an SAE beyond the judged ones whose contexts serve as counterexamples.
STRANGERS = 50

_LABEL = ["variant", "partition", "seed", "cluster"]
_INDEX = [*_LABEL, "latent", "layer", "activation"]
_COLUMNS = ["latent", "layer", "rank", "activation", "sequence", "tokens", "activations"]


class Context(NamedTuple):
    """A window of text and how active a latent is on each of its tokens."""

    sequence: int
    tokens: tuple[str, ...]
    activations: tuple[float, ...]


class Latent(NamedTuple):
    """A latent to be judged."""

    label: dict[str, Any]
    """variant, partition, seed, cluster and latent."""
    layer: int
    """The layer on which it is explained: the lowest with enough contexts."""
    shown: list[Context]
    """The contexts that it is explained by."""
    held_out: dict[int, list[Context]]
    """By layer: its contexts in other sequences than those shown, the most active first."""
    counterexamples: dict[int, list[Context]]
    """By layer: contexts in which it is silent, in random order."""


def read_latents(path: Path, n_latents: int, n_shown: int, seed: int) -> Iterator[list[Latent]]:
    """Up to `n_latents` random latents of every SAE, or family of specialised SAEs.

    Every other context of the lowest layer is shown, up to `n_shown`. A rise of `n_latents` adds
    latents and keeps those judged before. Only one SAE's contexts are in memory.

    Args:
        path: contexts.parquet of an arm. Rows of no activation are contexts in which the latent
            is silent; for latents without any, those of other latents stand in, which may hold a
            weaker firing than the latent's listed ones. That lowers scores on all layers alike.

    Raises:
        InputError: the file lacks columns.
    """
    missing = {*_INDEX, *_COLUMNS} - set(pq.read_schema(path).names)
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(sorted(missing))}. Delete it and run again."
        )
    index = pd.read_parquet(path, columns=_INDEX).astype({"cluster": str})
    names = index["cluster"].map(family).rename("family")
    for (variant, partition, sae_seed, name), rows in index.groupby(
        ["variant", "partition", "seed", names]
    ):
        label = dict(zip(_LABEL, (variant, partition, int(sae_seed), name)))
        counts = rows[rows["activation"] > 0].groupby(["latent", "layer"]).size()
        enough = counts[counts >= LEAST_CONTEXTS].reset_index()
        lowest = enough.groupby("latent")["layer"].min().to_dict()
        drawn = sorted(lowest)
        random.Random(f"{seed} {sae_seed} {name}").shuffle(drawn)
        clusters = rows["cluster"].unique().tolist()
        pool = _read_contexts(path, int(sae_seed), clusters, drawn[: n_latents + STRANGERS])
        yield [
            _latent(label | {"latent": int(latent)}, int(lowest[latent]), pool, n_shown, seed)
            for latent in drawn[:n_latents]
        ]


#: (latent, layer) -> its contexts in which it is active, by rank; those in which it is silent.
_Pool = dict[tuple[int, int], tuple[list[Context], list[Context]]]


def _read_contexts(path: Path, sae_seed: int, clusters: list[str], latents: list[int]) -> _Pool:
    wanted = [("seed", "==", sae_seed), ("cluster", "in", clusters), ("latent", "in", latents)]
    rows = pq.read_table(path, columns=_COLUMNS, filters=wanted).to_pylist()
    pool: _Pool = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        active, silent = pool.setdefault((row["latent"], row["layer"]), ([], []))
        context = Context(row["sequence"], tuple(row["tokens"]), tuple(row["activations"]))
        (active if row["activation"] > 0 else silent).append(context)
    return pool


def _latent(label: dict[str, Any], layer: int, pool: _Pool, n_shown: int, seed: int) -> Latent:
    latent = label["latent"]
    shown = pool[latent, layer][0][::2][:n_shown]
    seen = {context.sequence for context in shown}
    own = {on: active for (which, on), (active, _) in pool.items() if which == latent}
    firing = {context.sequence for active in own.values() for context in active}
    held_out, counterexamples = {}, {}
    for on in sorted(own):
        rest = [context for context in own[on] if context.sequence not in seen]
        if len(rest) >= LEAST_HELD_OUT:
            generator = random.Random(f"{seed} {label['seed']} {label['cluster']} {latent} {on}")
            silent = list(pool[latent, on][1]) or _strangers(pool, latent, on, firing)
            generator.shuffle(silent)
            held_out[on], counterexamples[on] = rest, silent
    return Latent(label, layer, shown, held_out, counterexamples)


def _strangers(pool: _Pool, latent: int, layer: int, firing: set[int]) -> list[Context]:
    """Contexts of other latents on a layer, one per sequence, none where `latent` is known to fire.

    Latents take turns, so that none of them fills the list.
    """
    found: dict[int, Context] = {}
    others = [
        active for (which, on), (active, _) in pool.items() if which != latent and on == layer
    ]
    for rank in range(max(map(len, others), default=0)):
        for context in (active[rank] for active in others if rank < len(active)):
            if context.sequence not in firing:
                found.setdefault(context.sequence, context)
    return list(found.values())
