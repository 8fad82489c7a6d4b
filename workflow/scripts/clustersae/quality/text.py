"""What quality and cost answer, in words: a line of caveats, and paragraphs about single arms."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.variants import kind_of
from clustersae.presentation.names import arm_name
from clustersae.presentation.shown import baseline, budget, chosen, shared, specialised
from clustersae.presentation.words import interval_text, paragraph, percent, share


def caveats(arms: pd.DataFrame) -> str:
    """What keeps the numbers from being taken at their word, in a line."""
    n_seeds = int(arms["n_seeds"].min())
    seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
    found = [seeds if n_seeds >= 3 else f"only {seeds}, which give no interval worth the name"]
    dead = arms.loc[arms["dead_fraction"].idxmax()]
    if dead["dead_fraction"] > 0.1:
        found.append(f"{percent(dead['dead_fraction'])} of latents dead ({arm_name(dead)})")
    return "Caveats: " + "; ".join([*found, *_convergence(arms)]) + "."


def _convergence(arms: pd.DataFrame) -> list[str]:
    """Whether per-layer SAEs of the longest training, else of the next shorter one, are done."""
    kinds = arms["variant"].map(kind_of)
    lengths = arms[(arms["role"] == "equal-compute") & (kinds == "tokens")]
    longer = lengths[lengths["matched_count"] > lengths["n_layers"]]
    shorter = lengths[lengths["matched_count"] < lengths["n_layers"]]
    if len(longer):
        arm = longer.loc[longer["matched_count"].idxmax()]
        if arm["excess_fvu"] < -0.05:
            gain = percent(-arm["excess_fvu"])
            return [f"not converged: {share(budget(arm))} of the training has {gain} less FVU"]
    elif len(shorter):
        arm = shorter.loc[shorter["matched_count"].idxmax()]
        if arm["excess_fvu"] > 0.1:
            loss = percent(arm["excess_fvu"])
            return [f"not converged: {share(budget(arm))} of the training has {loss} more FVU"]
    return []


def paragraphs(
    arms: pd.DataFrame, comparisons: pd.DataFrame, auto: Mapping[str, Any] | None
) -> str:
    """Every arm that stands for its kind against per-layer training and against its rivals.

    Args:
        arms, comparisons: the tables of those names.
        auto: what pilots have settled, as in plan.json.
    """
    spoken = [chosen(arms), specialised(arms), shared(arms)]
    several = pd.DataFrame([arm for arm in spoken if arm is not None]).drop_duplicates("arm")
    parts = [_pilots(auto)] if auto else []
    parts += [_about(arm, arms, comparisons) for _, arm in several.iterrows()]
    return "\n".join(parts)


def _pilots(auto: Mapping[str, Any]) -> str:
    fraction = share(auto["pilot_fraction"])
    start = f"Pilots on {fraction} of the training tried {len(auto['candidates'])} arms"
    if auto["family"] is None:
        return paragraph([f"{start}; none stayed within the margins."])
    best = next(
        each
        for each in auto["candidates"]
        if (each["family"], each["entry"]) == (auto["family"], auto["entry"])
    )
    if auto["family"] == "shared":
        what = f"{auto['entry']} shared"
    else:
        (spent,) = auto["entry"]["budgets"]
        what = f"specialised from {auto['entry']['from']}, {share(spent)}"
    return paragraph(
        [
            f"{start}. The cheapest within the margins was {what}: mean FVU"
            f" {percent(best['excess_fvu'], True)}, worst layer"
            f" {percent(best['excess_fvu_worst'], True)} against per-layer pilots of the same"
            " length, on the validation split. Their cost is part of that of the arm."
        ]
    )


def _about(arm: pd.Series, arms: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    name = arm_name(arm)
    name = name[:1].upper() + name[1:]
    if arm["role"] == "baseline":
        return paragraph([f"{name}: no cheaper arm stays within the margins."])
    between = interval_text(arm["excess_fvu_low"], arm["excess_fvu_high"])
    sentences = [
        f"{name}: mean FVU {percent(arm['excess_fvu'], True)} against full per-layer SAEs"
        f" ({between}; {arm['n_layers']} layers, {arm['n_seeds']} seeds), the layer that loses most"
        f" is {arm['worst_excess_layer']} ({percent(arm['excess_fvu_worst'], True)}), at"
        f" {percent(arm['cost_relative'])} of the measured cost (predicted"
        f" {percent(arm['cost_relative_predicted'])}).",
        *_all_layers(arm, baseline(arms)),
    ]
    rivals = comparisons[comparisons["arm"] == arm["arm"]]
    by_name = arms.set_index("arm", drop=False)
    for _, row in rivals.iterrows():
        sentences.append(_against(row, by_name.loc[row["against"]]))
    return paragraph(sentences)


def _against(row: pd.Series, rival: pd.Series) -> str:
    excess, low, high = row["excess_fvu"], row["excess_fvu_low"], row["excess_fvu_high"]
    name = arm_name(rival)
    if excess == low == high == 0:
        return f"Against {name} nothing differs: the clusters are the same."
    outcome = "undecided" if np.isnan(low) or low <= 0 <= high else "better"
    outcome = "worse" if outcome == "better" and excess > 0 else outcome
    numbers = f"{percent(excess, True)} ({interval_text(low, high)})"
    return f"Against {name} {outcome}: {numbers}, cost ratio {row['cost_ratio']:.2f}."


def _all_layers(arm: pd.Series, base: pd.Series) -> list[str]:
    if np.isnan(arm["delta_ce_all"]) or np.isnan(base["delta_ce_all"]):
        return []
    excess, low, high = (
        f"{arm[f'excess_ce_all{end}']:+.3f}".replace("-", "−") for end in ("", "_low", "_high")
    )
    none = np.isnan(arm["excess_ce_all_low"])
    ends = "no interval" if none else f"95 % interval {low} to {high} over seeds"
    return [
        f"With all layers spliced at once, cross-entropy is {arm['ce_all']:.3f} nats per token"
        f" against {base['ce_all']:.3f} per-layer ({excess}, {ends}) and {arm['ce_clean']:.3f}"
        " without SAEs."
    ]
