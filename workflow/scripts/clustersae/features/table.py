"""What the latents of every arm mean: one row per arm, with intervals.

Three groups of measures, in the order in which a reader asks:

    Does a shared latent mean the same on every layer that it serves?
        meaning_*      balanced accuracy of rules (which token, after which token) that were learned
                       from a latent's activity on one layer: on this layer (own), on the other
                       layers of its group (other), of the same latents on this layer (ceiling),
                       on a random latent (floor)
        share_pairs_kept   pairs of a rule that holds on its own layer and another layer on which
                       its latent fires often enough: those on which the rule holds
        share_kept     latents whose rules hold on every layer, of those that fire often enough on
                       all and follow a rule on one; falls with the number of layers by itself
        *_layers, ...  how a latent's activation spreads over layers (Lawson et al. 2024)
        detection_*, fuzzing_*   the same as meaning, by a judge's words in the place of rules
    Does it write what a per-layer SAE writes?
        similarity_*, matched_*  cosine of decoder rows to per-layer SAEs of another seed: the
                       nearest, and matched one to one; between per-layer SAEs of two seeds
                       (ceiling) and random directions (floor)
    Is something lost?
        coverage       best F1 of any latent for a known factor of the text, mean over its values

Intervals (95 %), and those of differences, which are paired, are Student's t over seeds: layers and
values of factors are all that there are. With one seed there are none. Where per-layer SAEs of
another seed are compared with (similarity, matched), every seed of them is in two values.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm, baseline
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.tables import Format
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import cells
from clustersae.statistics.ratios import Ratio
from clustersae.statistics.spread import SPREAD

_ARM = ("variant", "partition", "seed")
MEANING = Format(
    (*_ARM, "group", "layer", "other_layer"), ("n_latents", "balanced_accuracy", "floor", "ceiling")
)
_KEPT = ("n_explained", "n_kept", "n_pairs", "n_pairs_kept")
KEPT = Format((*_ARM, "group"), ("n_layers", *_KEPT))
SIMILARITY = Format(
    (*_ARM, "layer", "kind"), ("other_seed", "mean_max_cosine", "matched_cosine", "matching")
)
COVERAGE = Format((*_ARM, "factor", "value"), ("n_positive", "f1"))
JUDGE = Format((*_ARM, "cluster", "latent", "layer", "kind"), ("explained_on", "balanced_accuracy"))

#: What a judge is asked.
_JUDGED = ("detection", "fuzzing")
#: Columns of the table, each with _low and _high.
MEASURES = (
    *("meaning_own", "meaning_other", "meaning_ceiling", "meaning_floor", "meaning_lost"),
    *("share_pairs_kept", "share_kept"),
    *("layers_served", *SPREAD, "effective_layers_share"),
    *(f"{kind}_{which}" for kind in _JUDGED for which in ("own", "other", "ceiling")),
    *("similarity", "similarity_ceiling", "similarity_floor"),
    *("matched", "matched_ceiling", "matched_floor", "coverage"),
)
#: Those whose difference from the full per-layer SAEs stands in the table, too.
COMPARED = (*("meaning_own", "detection_own", "fuzzing_own", "similarity", "matched", "coverage"),)
#: Those that drop layers on which some seed has no latent to measure.
_LAYERED = ("meaning_own", "meaning_other", "similarity")
#: Trivial where an SAE serves one layer: means over latents that serve several.
_OF_SHARED = ("effective_layers_share", "home_share", *SPREAD[-2:])  # and the variances
#: At most 1.
_SHARES = ("firing_rate", "home_share", "effective_layers_share")


class Measured(NamedTuple):
    """Everything that was measured on all arms.

    Attributes:
        spread: `spread_by_group`.
        meaning, kept, similarity, coverage: rows in the formats of their names; no coverage where
            the text has no known factors.
        judge: rows in the format JUDGE; none where nobody was asked.
    """

    spread: pd.DataFrame
    meaning: pd.DataFrame
    kept: pd.DataFrame
    similarity: pd.DataFrame
    coverage: pd.DataFrame
    judge: pd.DataFrame


def features_table(arms: Sequence[Arm], measured: Measured) -> pd.DataFrame:
    """One row per arm; differences (`*_vs_baseline`) from the full per-layer SAEs are paired.

    `meaning_other`, `meaning_ceiling`, `meaning_lost` (ceiling less other), the shares kept,
    `effective_layers_share` (of the layers served), `home_share` and the variances are about SAEs
    that serve several layers, and empty without them. `n_pairs` pairs of a rule and another layer
    could have been kept and `n_pairs_kept` were, `n_explained` latents and `n_kept` on all layers;
    these, `n_latents`, `n_live` and `n_judged` are means over seeds. `*_n_layers` count the layers
    of a mean: those on which every seed has latents to measure. SAEs of one seed start alike, so
    with one seed similarity to per-layer SAEs is empty for every arm.
    """
    seeds = sorted(set(_of(measured.spread, baseline(arms))["seed"]))
    parts = {arm.name: _parts(arm, measured, seeds) for arm in arms}
    measures = {arm.name: dict(_measures(parts[arm.name], seeds)) for arm in arms}
    against = measures[baseline(arms).name]
    rows = []
    for arm in arms:
        own = measures[arm.name]
        row = arm_columns(arm) | _counts(parts[arm.name], own, seeds)
        for name in MEASURES:
            row |= cells(name, own[name].interval())
            if name in COMPARED and arm.role != "baseline":
                row |= cells(f"{name}_vs_baseline", own[name].minus(against[name]).interval())
        rows.append(row)
    table = pd.DataFrame(rows)
    # The baseline's row has no differences, and where it is alone the columns are there as well.
    ends = [f"{name}_vs_baseline{end}" for name in COMPARED for end in ("", "_low", "_high")]
    return table.reindex(columns=[*dict.fromkeys([*table.columns, *ends])])


def _of(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    own = (frame["variant"] == arm.variant) & (frame["partition"] == arm.partition)
    return frame[own]


def _parts(arm: Arm, measured: Measured, seeds: Sequence[int]) -> Measured:
    """What was measured on one arm, after a check that it is complete."""
    parts = Measured(*(_of(frame, arm) for frame in measured))
    for name, rows, whole in zip(Measured._fields, parts, measured):
        # A judge need not find a latent to judge in every seed; some text has no known factors.
        if name == "judge" or (name == "coverage" and whole.empty):
            continue
        if set(rows["seed"]) != set(seeds):
            raise InputError(
                f"The latents of {arm.name} were measured ({name}) with the seeds"
                f" {sorted(set(rows['seed']))}, those of the per-layer SAEs with {list(seeds)}:"
                " delete the arm's files below evaluation/features and run again."
            )
    return parts


def _counts(
    parts: Measured, measures: dict[str, Ratio], seeds: Sequence[int]
) -> dict[str, int | float | str]:
    """How many there are of everything."""
    spread, shared = parts.spread, parts.kept[parts.kept["n_layers"] > 1]
    # Latents that the judge gave no usable answer on are not among those that scores are of.
    judged = parts.judge.dropna(subset="balanced_accuracy")
    judged = judged[["seed", "cluster", "latent"]].drop_duplicates()
    return {
        "n_seeds": len(seeds),
        "n_latents": spread["n_latents"].sum() / len(seeds),
        "n_live": spread["n_live"].sum() / len(seeds),
        **{name: shared[name].sum() / len(seeds) for name in _KEPT},
        "n_judged": len(judged) / len(seeds),
        "n_values": len(parts.coverage) // len(seeds),
        **{f"{name}_n_layers": len(measures[name].sums) for name in _LAYERED},
        "matching": "+".join(sorted(set(parts.similarity["matching"].dropna()))),
    }


def _measures(parts: Measured, seeds: Sequence[int]) -> Iterator[tuple[str, Ratio]]:
    """Name → what its mean is made of."""
    for name, values in (_meaning(parts.meaning) | _similarity(parts.similarity)).items():
        yield name, Ratio.over_units(values)
    shared = parts.kept[parts.kept["n_layers"] > 1]
    kept = shared.assign(
        share_kept=shared["n_kept"] / shared["n_explained"],
        share_pairs_kept=shared["n_pairs_kept"] / shared["n_pairs"],
    )
    for name, of in (("share_pairs_kept", "n_pairs"), ("share_kept", "n_explained")):
        yield name, Ratio.pooled(kept, name, of, seeds, most=1)
    live = parts.spread.assign(
        layers_served=parts.spread["n_layers"],
        effective_layers_share=parts.spread["effective_layers"] / parts.spread["n_layers"],
    )
    shared = live[live["n_layers"] > 1]
    for name in ("layers_served", *SPREAD, "effective_layers_share"):
        rows, most = shared if name in _OF_SHARED else live, 1 if name in _SHARES else np.inf
        yield name, Ratio.pooled(rows, name, "n_live", seeds, most)
    f1 = parts.coverage.pivot(index=["factor", "value"], columns="seed", values="f1")
    yield "coverage", Ratio.over_units(f1.dropna())
    for kind in _JUDGED:
        for name, scores in _judged(parts.judge[parts.judge["kind"] == kind]).items():
            yield f"{kind}_{name}", Ratio.pooled(scores, "balanced_accuracy", None, seeds, 1)


def _meaning(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Balanced accuracies by the layer on which rules were learned, [n_layers, n_seeds].

    Pairs of layers without a latent to score for some seed drop out.
    """
    place = ["layer", "other_layer"]
    accuracy, floor, ceiling = (
        rows.pivot(index=place, columns="seed", values=name).dropna()
        for name in ("balanced_accuracy", "floor", "ceiling")
    )
    on_own = accuracy.index.get_level_values(0) == accuracy.index.get_level_values(1)
    own = accuracy[on_own].droplevel("other_layer")
    # Latents that fire on two layers are not those that fire on one.
    other, same = (each[~on_own].groupby(level="layer").mean() for each in (accuracy, ceiling))
    return {
        "meaning_own": own,
        "meaning_other": other,
        "meaning_floor": floor.groupby(level="layer").mean(),
        "meaning_ceiling": same,
        "meaning_lost": same - other,
    }


def _judged(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scores of one kind on the layer explained, on others, and of the same latents there."""
    rows = rows.dropna(subset="balanced_accuracy")
    on_own = rows["layer"] == rows["explained_on"]
    # Latents with passages on several layers are not those that have them on one.
    latent = ["seed", "cluster", "latent"]
    own = rows[on_own].set_index(latent)["balanced_accuracy"].rename("own")
    both = rows[~on_own].join(own, on=latent, how="inner")
    ceiling = both.assign(balanced_accuracy=both["own"])
    return {"own": rows[on_own], "other": both, "ceiling": ceiling}


def _similarity(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Cosines by layer, [n_layers, n_seeds]."""
    # SAEs of one seed start from the same weights, whatever layers they serve.
    alike = (rows["seed"] == rows["other_seed"]) & (rows["kind"] != "floor")
    values = rows.assign(
        similarity=rows["mean_max_cosine"].mask(alike), matched=rows["matched_cosine"].mask(alike)
    )
    return {
        name + end: values[values["kind"] == kind]
        .pivot(index="layer", columns="seed", values=name)
        .dropna()
        for name in ("similarity", "matched")
        for kind, end in (("arm", ""), ("ceiling", "_ceiling"), ("floor", "_floor"))
    }


def meaning_table(arms: Sequence[Arm], measured: Measured) -> pd.DataFrame:
    """One row per arm, group, layer of the rule and layer that it was scored on; means over seeds.

    `n_seeds` had a latent to score. From `n_layers` on, columns are about the whole group, and so
    the same on all of its rows: latents that are alive, that could have kept their meaning on every
    layer, that did, the same of pairs of a rule and another layer, and how activation spreads.
    """
    group = ["variant", "partition", "group"]
    pairs = measured.meaning.groupby([*group, "layer", "other_layer"], sort=False).agg(
        n_seeds=("balanced_accuracy", "count"), **{name: (name, "mean") for name in MEANING.values}
    )
    spread = measured.spread
    # Latents of all seeds count alike.
    sums = spread[list(SPREAD)].mul(spread["n_live"], axis=0)
    spread = spread.assign(**sums).groupby(group, sort=False)
    wholes = spread.agg(n_layers=("n_layers", "first"), n_live=("n_live", "mean"))
    kept = measured.kept.groupby(group, sort=False)[list(_KEPT)].mean()
    kept["share_kept"] = kept["n_kept"] / kept["n_explained"]
    kept["share_pairs_kept"] = kept["n_pairs_kept"] / kept["n_pairs"]
    wholes = wholes.join(kept)
    wholes = wholes.join(spread[list(SPREAD)].sum(min_count=1).div(spread["n_live"].sum(), axis=0))
    names = pd.DataFrame([arm_columns(arm) for arm in arms])
    rows = names.merge(pairs.reset_index(), on=["variant", "partition"])
    return rows.merge(wholes.reset_index(), how="left", on=group)


def coverage_table(arms: Sequence[Arm], measured: Measured) -> pd.DataFrame:
    """One row per arm and factor: best F1 of any latent, mean over the factor's values.

    `f1_vs_baseline_p` is two-sided, of no difference, not corrected for the number of factors.
    `n_positive` is the mean number of test tokens that have a value.
    """
    names = list(arm_columns(arms[0]))
    ends = [f"f1{which}{end}" for which in ("", "_vs_baseline") for end in ("", "_low", "_high")]
    columns = [*names, "factor", "n_values", "n_positive", "n_seeds", *ends, "f1_vs_baseline_p"]
    first = _of(measured.coverage, baseline(arms))
    seeds = sorted(set(first["seed"]))
    by_factor = dict(iter(first.groupby("factor", sort=False)))
    base = {name: Ratio.pooled(rows, "f1", None, seeds, 1) for name, rows in by_factor.items()}
    rows: list[dict[str, Any]] = []
    for arm in arms:
        own = _of(measured.coverage, arm)
        sizes = (each.groupby(["factor", "seed"]).size() for each in (own, first))
        if not next(sizes).equals(next(sizes)):
            raise InputError(
                f"{arm.name} and the per-layer SAEs were asked for other factors or values: delete"
                " the coverage.csv of both and run again."
            )
        for factor, values in own.groupby("factor", sort=False):
            f1 = Ratio.pooled(values, "f1", None, seeds, 1)
            row = arm_columns(arm) | {"factor": factor, "n_values": len(values) // len(seeds)}
            row |= {"n_positive": values["n_positive"].mean(), "n_seeds": len(seeds)}
            row |= cells("f1", f1.interval())
            if arm.role != "baseline":
                difference = f1.minus(base[factor])
                row |= cells("f1_vs_baseline", difference.interval())
                row["f1_vs_baseline_p"] = difference.p_value()
            rows.append(row)
    return pd.DataFrame(rows, columns=columns)
