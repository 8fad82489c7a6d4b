"""What latents mean, in words: on every layer that they serve, and beside per-layer SAEs."""

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.presentation.shown import SPECIALISED, start_of
from clustersae.presentation.words import percent, share

#: How often a factor may be named that nothing is lost on.
FAMILY_ERROR = 0.05


def features_sentence(
    features: pd.DataFrame, coverage: pd.DataFrame, specialised: str | None = None
) -> str:
    """Whether shared latents keep their meaning from layer to layer, and what sharing costs.

    Args:
        features: `tables/features.csv`.
        coverage: `tables/feature_coverage.csv`.
        specialised: the specialised arm that is spoken of; None: the cheapest.
    """
    arms = spoken_of(features, specialised)
    baseline = features[features["arm"] == PER_LAYER].iloc[0]
    sentences = ["no SAE serves several layers, so no latent can change its meaning."]
    if len(arms):
        sentences = [*_kept(arms.iloc[0], baseline), *_rules(arms.iloc[0])]
        sentences += [_likewise(row, baseline) for _, row in arms[1:].iterrows()]
        sentences += _judged(arms.iloc[0])
    sentences += _coverage(arms, baseline, coverage)
    text = " ".join(["Features:", *sentences])
    return f"{text} 95 % intervals stand in square brackets." if "[" in text else text


def line(features: pd.DataFrame, specialised: str | None = None) -> str:
    """Whether shared latents keep their meaning, and find what per-layer ones find, in a line."""
    arms = spoken_of(features, specialised)
    baseline = features[features["arm"] == PER_LAYER].iloc[0]
    if arms.empty:
        return "Features: no SAE serves several layers."
    first, parts = arms.iloc[0], []
    if not np.isnan(first["share_pairs_kept"]):
        kept = percent(first["share_pairs_kept"])
        parts.append(f"{kept} of rules hold on another layer ({arm_words(first, baseline)})")
    if not np.isnan(baseline["coverage"]):
        found = ", ".join(f"{row['coverage']:.2f} {_kind(row)}" for _, row in arms.iterrows())
        parts.append(f"F1 of known factors {baseline['coverage']:.2f} per-layer, {found}")
    return "Features: " + ("; ".join(parts) or "no rule could be tested on another layer") + "."


def _kind(row: pd.Series) -> str:
    return "specialised" if row["role"] == SPECIALISED else "shared"


def spoken_of(features: pd.DataFrame, specialised: str | None = None) -> pd.DataFrame:
    """The rows of the arms that text is about, none, one or two.

    First the single SAE, or the main method's fewest; then the specialised SAEs of that name, or
    the cheapest, which the question of cost is about.
    """
    several = features[features["layers_served"] > 1]
    main = several[several["role"] == "main"].sort_values("count")
    others = several[several["role"] == SPECIALISED].sort_values("matched_count")
    if specialised is not None:
        others = others[others["arm"] == specialised]
    return pd.concat([main[:1], others[:1]])


def arm_words(row: pd.Series, baseline: pd.Series) -> str:
    """What an arm's SAEs are called, specialised ones with their training."""
    if row["role"] == SPECIALISED:
        spent = share(row["matched_count"] / baseline["count"])
        return f"SAEs specialised {start_of(row['partition'])} ({spent} of the training)"
    return "one SAE for all layers" if row["arm"] == SINGLE else f"{row['count']} shared SAEs"


def shows_difference(row: pd.Series, measure: str) -> bool:
    """Whether a measure has an interval, and one that excludes zero."""
    return bool(row[f"{measure}_low"] > 0 or row[f"{measure}_high"] < 0)


def most_lost(coverage: pd.DataFrame, arm: str) -> pd.Series | None:
    """The factor that an arm loses most of F1 on, of those with a loss that is shown; else None.

    The largest of many losses is large by chance. Shown is what Holm's procedure (1979) keeps of
    all n factors at 5 %: with p-values in ascending order, the k-th is at most 0.05 / (n − k + 1),
    and so are all before it.
    """
    rows = coverage[coverage["arm"] == arm].dropna(subset="f1_vs_baseline_p")
    rows = rows.sort_values("f1_vs_baseline_p", kind="stable")
    least = FAMILY_ERROR / np.arange(len(rows), 0, -1)
    shown = np.logical_and.accumulate(rows["f1_vs_baseline_p"].to_numpy() <= least)
    rows = rows[shown & (rows["f1_vs_baseline"] < 0)]
    return None if rows.empty else rows.loc[rows["f1_vs_baseline"].idxmin()]


def _kept(row: pd.Series, baseline: pd.Series) -> list[str]:
    """On another layer, which compares with other numbers of SAEs, and on all, which does not."""
    who = arm_words(row, baseline)
    pairs = f"of {who} no rule that holds on its own layer could be tested on another."
    if not np.isnan(row["share_pairs_kept"]):
        pairs = (
            f"{_share(row, 'share_pairs_kept')} of rules keep their meaning on another layer, with"
            f" {who} ({row['n_pairs']:.0f} pairs of a rule that holds on its own layer and another"
            " layer)."
        )
    of_all = f"Of {row['n_live']:.0f} live latents"
    if np.isnan(row["share_kept"]):
        none = "none both fires often enough on every layer and follows a rule on one."
        return [pairs, f"{of_all} {none}"]
    return [
        pairs,
        f"{of_all} {row['n_explained']:.0f} fire often enough on every layer that they serve and"
        f" follow a rule on one, and {_share(row, 'share_kept')} of these mean the same on all of"
        " them.",
    ]


def _rules(row: pd.Series) -> list[str]:
    """Where rules hold that were learned on one layer; nothing where none could be learned."""
    if np.isnan(row["meaning_lost"]):
        return []
    known = shows_difference(row, "meaning_lost")
    lost = ("less by " if known else "no loss shown: ") + _number(row, "meaning_lost")
    return [
        f"Rules learned on one layer have a balanced accuracy of {row['meaning_ceiling']:.2f}"
        f" there, {row['meaning_other']:.2f} on the other layers ({lost}) and"
        f" {row['meaning_floor']:.2f} on a random latent."
    ]


def _likewise(row: pd.Series, baseline: pd.Series) -> str:
    who = f"With {arm_words(row, baseline)}"
    if np.isnan(row["share_pairs_kept"]):
        return f"{who} there is no such rule."
    parts = [f"it is {_share(row, 'share_pairs_kept')} of rules"]
    if not np.isnan(row["share_kept"]):
        parts.append(f"{_share(row, 'share_kept')} of {row['n_explained']:.0f} latents")
    if not np.isnan(row["meaning_lost"]):
        parts.append(f"{row['meaning_ceiling']:.2f} against {row['meaning_other']:.2f}")
    *first, last = parts
    return f"{who} {', '.join(first)}{', and ' if first else ''}{last}."


def _judged(row: pd.Series) -> list[str]:
    if np.isnan(row["detection_other"]):
        return []
    return [
        f"A judge that explains a latent by one layer recognises its passages at"
        f" {row['detection_own']:.2f} there and at {row['detection_other']:.2f} on the others"
        f" (balanced accuracy, {row['n_judged']:.0f} latents)."
    ]


def _coverage(arms: pd.DataFrame, baseline: pd.Series, coverage: pd.DataFrame) -> list[str]:
    """What sharing costs in known factors; nothing where the text has none."""
    if np.isnan(baseline["coverage"]):
        return []
    parts = [f"{baseline['coverage']:.2f} by the best latents of per-layer SAEs"]
    for number, (_, row) in enumerate(arms.iterrows()):
        known = shows_difference(row, "coverage_vs_baseline")
        loss = _number(row, "coverage_vs_baseline", signed=True)
        worst = most_lost(coverage, row["arm"])
        most = "" if worst is None else f", most on {worst['factor']}"
        who = "the specialised ones" if number else arm_words(row, baseline)
        parts.append(
            f"{row['coverage']:.2f} by those of {who}"
            f" ({'difference' if known else 'no difference shown:'} {loss}{most})"
        )
    return [
        f"Known factors of the text ({baseline['n_values']:.0f} values) are found with a mean F1 of"
        f" {', '.join(parts)}."
    ]


def _share(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    ends = "" if np.isnan(low) else f" [{percent(low)} to {percent(high)}]"
    return percent(row[name]) + ends


def _number(row: pd.Series, measure: str, signed: bool = False) -> str:
    """A measure and its interval, or that there is none."""
    form = "+.2f" if signed else ".2f"
    ends = [f"{row[measure + end]:{form}}".replace("-", "−") for end in ("", "_low", "_high")]
    if np.isnan(row[f"{measure}_low"]):
        return f"{ends[0]}, without an interval"
    return f"{ends[0]} [{ends[1]} to {ends[2]}]"
