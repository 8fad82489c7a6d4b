"""How far the latents of specialised SAEs correspond, beside SAEs that never had a common root.

Means over layers (or pairs of layers) per seed, and over seeds, which have Student's t. Of kinds
that compare two seeds every seed is in two values, which depend on each other a little. Where only
a sample of many layers' pairs was compared, each counts for those that it stands for
(`latents.layer_pairs`), and every seed has its own: the spread over seeds has its error.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from clustersae.correspondence.measures import CORRESPONDENCE_MEASURES as MEASURES
from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.experiment.variants import BASE
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.tables import Format
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import ABSENT, cells, mean_of_layers, over_seeds

#: Rows of `evaluation/correspondence/{variant}/{partition}.csv`.
CORRESPONDENCE = Format(
    ("variant", "partition", "kind", "seed", "other_seed", "layer", "other_layer"),
    ("root", "matching", "n_tokens", "n_latents", "share_alive", *MEASURES, "agreement"),
)

#: Kinds measured on the arm itself, and on SAEs that were trained from scratch.
OWN = ("ancestor", "siblings", "shared", "shuffled", "specialised_seed", "root_seed")
SCRATCH = ("independent", "same_start", "independent_seed")

_PLACE = ["layer", "other_layer"]


def correspondence_table(arms: Sequence[Arm], measured: pd.DataFrame) -> pd.DataFrame:
    """One row per specialised arm, kind and distance between layers; empty distance: all of them.

    SAEs from scratch are taken on the pairs of layers (or layers) that the arm has, so that kinds
    of one arm differ in nothing but the SAEs; of a sample, on those of its pairs that the arm has.
    Pairs without latents that are alive on both sides drop out, and so lower `n_pairs`.

    Args:
        arms: those of the experiment.
        measured: rows in the format CORRESPONDENCE, of the specialised arms and of `per-layer`.
    """
    scratch = _weighed(_of(measured, BASE, PER_LAYER))
    rows = []
    for arm in (arm for arm in arms if arm.role == "specialised"):
        own = _of(measured, arm.variant, arm.partition)
        if own.empty:
            raise InputError(f"The latents of {arm.name} were not compared.")
        for kind in (*OWN, *SCRATCH):
            frame = own.assign(weight=1.0) if kind in OWN else _on_places(scratch, own, True)
            chosen = _with_latents(frame[frame["kind"] == kind])
            label = arm_columns(arm) | {"kind": kind}
            rows += [
                label | {"distance": distance} | _summary(group)
                for distance, group in _by_distance(chosen)
            ]
    return pd.DataFrame(rows, columns=None if rows else ["arm", "kind", "distance", *MEASURES])


def _of(measured: pd.DataFrame, variant: str, partition: str) -> pd.DataFrame:
    return measured[(measured["variant"] == variant) & (measured["partition"] == partition)]


def _weighed(scratch: pd.DataFrame) -> pd.DataFrame:
    """With a column `weight`: how many pairs of layers at its distance a row stands for."""
    weights = pd.Series(1.0, scratch.index)
    matched = scratch[scratch["kind"] == "independent"]
    apart = matched["other_layer"] - matched["layer"]
    layers = sorted({*scratch["layer"], *scratch["other_layer"]})
    n_all = Counter(b - a for a, b in combinations(layers, 2))
    n_compared = matched.groupby([matched["seed"], apart])["layer"].transform("size")
    weights[matched.index] = apart.map(n_all) / n_compared
    return scratch.assign(weight=weights)


def _on_places(rows: pd.DataFrame, others: pd.DataFrame, inside: bool) -> pd.DataFrame:
    """The rows whose layers are (or are not) those of a row in `others`."""
    found = pd.MultiIndex.from_frame(rows[_PLACE]).isin(pd.MultiIndex.from_frame(others[_PLACE]))
    return rows[found == inside]


def _with_latents(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the pairs of layers that left nothing to compare for some seed."""
    return _on_places(rows, rows[rows["n_latents"] == 0], False)


def _by_distance(rows: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """All rows, and where they compare different layers, those of each distance."""
    distances = rows["other_layer"] - rows["layer"]
    apart = [(float(each), rows[distances == each]) for each in sorted(set(distances) - {0})]
    return [(np.nan, rows), *apart] if len(rows) else []


def _summary(rows: pd.DataFrame) -> dict[str, Any]:
    wide = {name: rows.pivot(index=_PLACE, columns="seed", values=name) for name in MEASURES}
    n_pairs, n_seeds = wide["jaccard"].shape
    is_sample = (rows["weight"] != 1).any()
    if not is_sample and len(rows) != n_pairs * n_seeds:
        first = rows.iloc[0]
        raise InputError(
            f"Seeds of {first['partition']} ({first['variant']}) were compared on different layers"
            f" (kind {first['kind']})."
        )
    result = {
        "matching": "+".join(sorted(set(rows["matching"]))),
        "n_pairs": n_pairs,
        "n_seeds": n_seeds,
        "n_tokens": int(rows["n_tokens"].max()),
        "n_latents": float(rows["n_latents"].mean()),
        "share_alive": float(rows["share_alive"].mean()),
    }
    if is_sample:  # of other pairs in every seed
        names = ["n_latents", "share_alive", *MEASURES]
        means = pd.DataFrame(
            np.average(own[names], axis=0, weights=own["weight"]) for _, own in rows.groupby("seed")
        ).set_axis(names, axis=1)
        result |= {name: float(means[name].mean()) for name in names[:2]}
        for name in MEASURES:
            result |= cells(name, over_seeds(means[name].to_numpy()).interval())
        return result | cells("agreement", ABSENT)
    for name in MEASURES:
        result |= cells(name, mean_of_layers(wide[name].to_numpy()).interval())
    agreement = rows.pivot(index=_PLACE, columns="seed", values="agreement").to_numpy()
    measured = not np.isnan(agreement).any()
    found = mean_of_layers(agreement).interval() if measured else ABSENT
    return result | cells("agreement", found)
