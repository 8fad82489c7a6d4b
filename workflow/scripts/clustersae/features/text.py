"""What latents mean, in words: on every layer that they serve, and beside per-layer SAEs."""

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.features.shares import KEPT_SHARE
from clustersae.features.summary import most_lost, shows_difference
from clustersae.presentation.arms import best, full_label, spoken_of
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import fitted, percent
from clustersae.runtime.words import counted


def line(found: Findings) -> str:
    """Whether shared latents keep their meaning, and what sharing costs in known factors."""
    arms, baseline = _arms(found)
    if arms.empty:
        return "Features: no SAE serves several layers, so no latent can change its meaning"
    row = arms.iloc[0]
    first = best(found.tables["arms"])["arm"] == row["arm"]
    who = "arm 1" if first else row["name"]
    parts = ["no rule could be tested on another layer"]
    if not np.isnan(row["share_pairs_kept"]):
        parts = [f"{_share(row, 'share_pairs_kept')} of rules hold on other layers"]
    if not np.isnan(baseline["coverage"]):
        parts.append(f"factor F1 {_number(row, 'coverage_vs_baseline', signed=True)}")
    return fitted(f"Features ({who}):", parts)


def paragraph(found: Findings) -> str:
    """Whether shared latents keep their meaning from layer to layer, and what sharing costs."""
    arms, baseline = _arms(found)
    sentences = [] if len(arms) else ["No SAE serves several layers: no latent can change meaning."]
    for _, row in arms.iterrows():
        sentences += [*_kept(row), *_rules(row), *_judged(row)]
    if len(arms):
        sentences += _matched(found.tables.get("feature_sweep"))
    sentences += _coverage(arms, baseline, found.tables["feature_coverage"])
    text = " ".join(sentences)
    return f"{text} 95 % intervals stand in square brackets." if "[" in text else text


def _arms(found: Findings) -> tuple[pd.DataFrame, pd.Series]:
    """Rows of features.csv of the arms to speak of, with their `name`; and of the baseline."""
    features = found.tables["features"].set_index("arm", drop=False)
    several = set(features.index[features["layers_served"] > 1])
    spoken = spoken_of(found.tables["arms"], several)
    names = [full_label(arm) for _, arm in spoken.iterrows()]
    rows = features.loc[list(spoken["arm"])].copy().assign(name=names)
    return rows, features.loc[PER_LAYER]


def _kept(row: pd.Series) -> list[str]:
    """On another layer, which compares with other numbers of SAEs, and on all, which does not."""
    who = row["name"]
    pairs = f"Of {who} no rule that holds on its own layer could be tested on another."
    if not np.isnan(row["share_pairs_kept"]):
        pairs = (
            f"With {who}, {_share(row, 'share_pairs_kept')} of rules keep their meaning on another"
            f" layer ({counted(row['n_pairs'], 'pair')} of a rule that holds on its own layer and"
            " another layer)."
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


def _matched(sweep: pd.DataFrame | None) -> list[str]:
    """The control at the share that `kept` asks for; nothing where nothing could be matched."""
    if sweep is None or sweep.empty:
        return []
    rows = sweep[(sweep["arm"] == PER_LAYER) & (sweep["pairing"] == "matched")]
    rows = rows[rows["share"] == KEPT_SHARE].dropna(subset="share_pairs_kept")
    return [
        f"Between full per-layer SAEs, whose latents are matched for every two layers, it is"
        f" {_share(row, 'share_pairs_kept')}."
        for _, row in rows.iterrows()
    ]


def _rules(row: pd.Series) -> list[str]:
    """Where rules hold that were learned on one layer; nothing where none could be learned."""
    if np.isnan(row["meaning_lost"]):
        return []
    known = shows_difference(row, "meaning_lost")
    lost = ("less by " if known else "undecided: ") + _number(row, "meaning_lost")
    return [
        f"Rules learned on one layer have a balanced accuracy of {row['meaning_ceiling']:.2f}"
        f" there, {row['meaning_other']:.2f} on the other layers ({lost}) and"
        f" {row['meaning_floor']:.2f} on a random latent."
    ]


def _judged(row: pd.Series) -> list[str]:
    if np.isnan(row["detection_other"]):
        return []
    return [
        f"A judge that explains a latent by one layer recognises its passages at"
        f" {row['detection_ceiling']:.2f} there and at {row['detection_other']:.2f} on the others"
        f" (balanced accuracy of latents with passages on both, of {row['n_judged']:.0f} judged)."
    ]


def _coverage(arms: pd.DataFrame, baseline: pd.Series, coverage: pd.DataFrame) -> list[str]:
    """What sharing costs in known factors; nothing where the text has none."""
    if np.isnan(baseline["coverage"]):
        return []
    parts = [f"{baseline['coverage']:.2f} by the best latents of per-layer SAEs"]
    for _, row in arms.iterrows():
        known = shows_difference(row, "coverage_vs_baseline")
        loss = _number(row, "coverage_vs_baseline", signed=True)
        worst = most_lost(coverage, row["arm"])
        most = "" if worst is None else f", most on {worst['factor']}"
        parts.append(
            f"{row['coverage']:.2f} by those of {row['name']}"
            f" ({'difference' if known else 'undecided:'} {loss}{most})"
        )
    return [
        f"Known factors of the text ({baseline['n_values']:.0f} values) are found with a mean F1 of"
        f" {', '.join(parts)}."
    ]


def _share(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    ends = "" if np.isnan(low) else f" [{percent(low).removesuffix(' %')} to {percent(high)}]"
    return percent(row[name]) + ends


def _number(row: pd.Series, measure: str, signed: bool = False) -> str:
    """A measure and its interval, or that there is none."""
    form = "+.2f" if signed else ".2f"
    ends = [f"{row[measure + end]:{form}}".replace("-", "−") for end in ("", "_low", "_high")]
    if np.isnan(row[f"{measure}_low"]):
        return f"{ends[0]}, without an interval"
    return f"{ends[0]} [{ends[1]} to {ends[2]}]"
