"""The answer in one paragraph: how many SAEs, what is lost, what is saved, against what."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.variants import kind_of
from clustersae.presentation import specialised
from clustersae.presentation.judging import judged_excess
from clustersae.presentation.words import interval_text, paragraph, percent, share

METHODS = {
    "complete": "complete linkage",
    "average": "average linkage",
    "contiguous": "optimal contiguous runs",
    "kmeans": "k-means",
    "even": "evenly spaced clusters",
    "random": "random contiguous clusters",
    SINGLE: "one SAE for all layers",
}


def verdict(
    arms: pd.DataFrame,
    comparisons: pd.DataFrame,
    partitions: dict[str, dict[str, Any]],
    tolerance: float,
    pilot: Mapping[str, Any] | None = None,
    specialised_pilot: Mapping[str, Any] | None = None,
) -> str:
    """One paragraph for people, from the tables alone.

    Args:
        arms: `arms_table`, with the chosen arm marked.
        comparisons: `comparisons_table`.
        partitions: of `partitions.json`, for the clusters' names.
        tolerance: worst-layer excess FVU that K was chosen by.
        pilot: `chosen.json` where `counts: auto` picked the K to train.
        specialised_pilot: `chosen_specialised.json` where `specialise: auto` picked the arm.
    """
    baseline = arms[arms["arm"] == PER_LAYER].iloc[0]
    candidates = arms[(arms["role"] == "main") & (arms["count"] < baseline["count"])]
    of_specialised = specialised.sentences(arms, comparisons, tolerance, specialised_pilot)
    if candidates.empty:
        sentences = ["No partition with fewer SAEs than layers was evaluated."]
        return paragraph([*sentences, *of_specialised, *_caveats(arms)])
    shown = shown_arm(arms)
    sentences = [
        _choice(shown, partitions, tolerance),
        *_pilot(pilot),
        _loss(shown),
        *_against(comparisons[comparisons["arm"] == shown["arm"]], arms),
        *_all_layers(arms, shown, baseline),
        *of_specialised,
        *_caveats(arms),
    ]
    return paragraph(sentences)


def shown_arm(arms: pd.DataFrame) -> pd.Series | None:
    """The arm that text and figures hold beside the baseline; None without a clustered arm.

    The chosen arm; where the choice is per-layer training itself, the main method's arm whose
    worst layer came closest to the tolerance (on validation where there is one).
    """
    chosen = arms[arms["chosen"]]
    if len(chosen) and chosen.iloc[0]["arm"] != PER_LAYER:
        return chosen.iloc[0]
    n_layers = arms["n_layers"].max()
    main = arms[(arms["role"] == "main") & (arms["count"] < n_layers)]
    if main.empty:
        return None
    return main.loc[main.apply(judged_excess, axis=1).idxmin()]


def _choice(shown: pd.Series, partitions: dict[str, dict[str, Any]], tolerance: float) -> str:
    clusters = ", ".join(partitions[shown["partition"]]["clusters"])
    method = METHODS.get(shown["method"], shown["method"])
    n_layers, count = shown["n_layers"], shown["count"]
    there = f"({percent(shown['excess_fvu_worst_validation'], True)} there)"
    limit = f"{100 * tolerance:g} % of per-layer FVU on the validation split"
    if shown["chosen"]:
        return (
            f"{count} of {n_layers} SAEs {'is' if count == 1 else 'are'} enough"
            f" ({method}: {clusters}). K = {count} is the smallest of those trained whose worst"
            f" layer loses at most {limit} {there}; what follows is from the test split."
        )
    return (
        f"This model needs one SAE per layer: no K below {n_layers} among those trained keeps the"
        f" worst layer within {limit}. The closest is K = {count} ({method}: {clusters}) {there};"
        " what follows is that arm on the test split."
    )


def _pilot(pilot: Mapping[str, Any] | None) -> list[str]:
    if pilot is None:
        return []
    excess = percent(pilot["worst_excess_fvu"][str(pilot["count"])], True)
    return [
        f"Short pilot trainings proposed K = {pilot['count']} (worst layer {excess} there); their"
        " cost is part of that of the clustered arms."
    ]


def _loss(shown: pd.Series) -> str:
    low, high = shown["excess_fvu_low"], shown["excess_fvu_high"]
    between = interval_text(low, high)
    size = f"{shown['n_layers']} layers × {_seeds(shown['n_seeds'])}"
    excess = percent(shown["excess_fvu"], True)
    if low <= 0 <= high:
        fvu = (
            f"Mean FVU is not distinguishable from per-layer training ({excess}, {between}; {size})"
        )
    else:
        verb = "lower than" if shown["excess_fvu"] < 0 else "above"
        amount = percent(abs(shown["excess_fvu"]))
        fvu = f"Mean FVU is {amount} {verb} per-layer training ({between}; {size})"
    return (
        f"{fvu}, and the layer that loses most is {shown['worst_excess_layer']}"
        f" ({percent(shown['excess_fvu_worst'], True)}), at"
        f" {percent(shown['cost_relative'])} of the measured cost of per-layer training"
        f" (predicted {percent(shown['cost_relative_predicted'])})."
    )


def _against(comparisons: pd.DataFrame, arms: pd.DataFrame) -> list[str]:
    """Equal compute first, then controls, other methods and equal exposure."""
    sentences = []
    equal = comparisons[comparisons["role"] == "equal-compute"]
    if equal.empty:
        # Other lengths of training are no whole number of SAEs, or not fewer than layers.
        counts = arms.loc[arms["role"] == "equal-compute", "matched_count"]
        tried = sorted({count for count in counts if count < arms["n_layers"].max()})
        tried = [int(count) for count in tried if count == int(count)]
        which = "No arm of equal compute was trained"
        if tried:
            counts = " and ".join(str(count) for count in tried)
            which = f"Arms of equal compute were trained for K = {counts} only"
        sentences.append(f"{which}, so whether sharing beats it is open.")
    for role, start in (
        ("equal-compute", "At equal compute, against "),
        ("control", "Against the control of "),
        ("alternative", "Against "),
        ("equal-exposure", "Against the same clusters at equal exposure per layer, "),
    ):
        for _, row in comparisons[comparisons["role"] == role].iterrows():
            rival = arms[arms["arm"] == row["against"]].iloc[0]
            sentences.append(start + _outcome(row, rival))
    return sentences


def _outcome(row: pd.Series, rival: pd.Series) -> str:
    names = {
        "tokens": "per-layer SAEs trained on fewer tokens, ",
        "narrower": "narrower per-layer SAEs, ",
    }
    kind = next((text for start, text in names.items() if rival["variant"].startswith(start)), None)
    if kind is None:
        kind = "" if rival["role"] == "equal-exposure" else _method(rival) + ", "
    excess, low, high = row["excess_fvu"], row["excess_fvu_low"], row["excess_fvu_high"]
    cost = f", measured cost ratio {row['cost_ratio']:.2f}"
    numbers = f"({percent(excess, True)}, {interval_text(low, high)}{cost})"
    if excess == low == high == 0:
        return f"{kind}nothing differs: the clusters are the same."
    if np.isnan(low):
        return f"{kind}mean FVU differs by {percent(excess, True)} (no interval{cost})."
    if low <= 0 <= high:
        return f"{kind}the mean FVU is not distinguishable {numbers}."
    ours = {"equal-compute": "sharing", "equal-exposure": "equal compute per SAE"}.get(
        rival["role"], "the distance-based clustering"
    )
    return f"{kind}{ours} {'wins' if excess < 0 else 'loses'} in mean FVU {numbers}."


def _method(arm: pd.Series) -> str:
    return METHODS.get(arm["method"], arm["method"])


def _all_layers(arms: pd.DataFrame, shown: pd.Series, baseline: pd.Series) -> list[str]:
    if np.isnan(shown["delta_ce_all"]) or np.isnan(baseline["delta_ce_all"]):
        return []
    text = (
        f"With all layers spliced at once, cross-entropy is {shown['ce_all']:.3f} nats per token"
        f" against {baseline['ce_all']:.3f} per-layer ({_nats(shown)}) and"
        f" {shown['ce_clean']:.3f} without SAEs"
    )
    single = arms[(arms["arm"] == SINGLE) & (arms["arm"] != shown["arm"])]
    if len(single) and not np.isnan(single.iloc[0]["ce_all"]):
        text += f" (one SAE for all layers: {single.iloc[0]['ce_all']:.3f})"
    return [text + "."]


def _nats(arm: pd.Series) -> str:
    excess, low, high = (
        f"{arm[f'excess_ce_all{end}']:+.3f}".replace("-", "−") for end in ("", "_low", "_high")
    )
    if np.isnan(arm["excess_ce_all_low"]):
        return f"{excess}, no interval"
    return f"{excess}, 95 % interval {low} to {high} over seeds"


def _caveats(arms: pd.DataFrame) -> list[str]:
    caveats = _convergence(arms)
    n_seeds = int(arms["n_seeds"].min())
    if n_seeds < 3:
        caveats.append(
            f"Only {_seeds(n_seeds)}: the intervals hardly see how training varies and are not to"
            " be trusted; use at least three."
        )
    return caveats


def _convergence(arms: pd.DataFrame) -> list[str]:
    """What per-layer SAEs of the longest training, else of the next shorter one, show."""
    kinds = arms["variant"].map(kind_of)
    lengths = arms[(arms["role"] == "equal-compute") & (kinds == "tokens")]
    gaps = "so the gaps may differ with more tokens"
    longer = lengths[lengths["matched_count"] > lengths["n_layers"]]
    shorter = lengths[lengths["matched_count"] < lengths["n_layers"]]
    if len(longer):
        arm = longer.loc[longer["matched_count"].idxmax()]
        if arm["excess_fvu"] < -0.05:
            return [
                f"Training is not converged: per-layer SAEs on {share(specialised.budget(arm))} of"
                f" the activations have {percent(-arm['excess_fvu'])} less FVU, {gaps}."
            ]
    elif len(shorter):
        arm = shorter.loc[shorter["matched_count"].idxmax()]
        if arm["excess_fvu"] > 0.1:
            return [
                "Training is far from converged: per-layer SAEs on"
                f" {share(specialised.budget(arm))} of the activations have"
                f" {percent(arm['excess_fvu'])} more FVU, {gaps}."
            ]
    return []


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"
