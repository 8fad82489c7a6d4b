"""How many SAEs, with how much training, and what is lost, in words."""

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.variants import kind_of
from clustersae.presentation.arms import best, cheaper_controls, dominating, full_label, spoken_of
from clustersae.presentation.findings import Findings
from clustersae.presentation.judging import same_training
from clustersae.presentation.specialised import budget
from clustersae.presentation.words import bounds, fitted, listed, percent, share

#: Intervals over fewer seeds than this are so wide that it has to be said.
_FEW_SEEDS = 5
_NO_RIVAL = "No per-layer SAEs of its training stand beside the best arm: whether it wins is open."
#: Longer per-layer training is expected to bring less than this where training has converged.
_CONVERGED = 0.05


def line(found: Findings) -> str:
    """The model's own loss with all layers spliced at once; nothing where it was not measured."""
    arms = found.tables["arms"].set_index("arm")
    first, full = arms.loc[best(found.tables["arms"])["arm"]], arms.loc[PER_LAYER]
    if np.isnan(first["ce_all"]) or np.isnan(full["ce_all"]):
        return ""
    parts = [f"arm 1 {first['ce_all']:.3f}", f"without SAEs {full['ce_clean']:.3f}"]
    if first.name != PER_LAYER:
        parts.insert(1, f"per-layer {full['ce_all']:.3f}: {_nats(first)}")
    return fitted("Cross-entropy (nats):", parts)


def paragraph(found: Findings) -> str:
    """The choice, what each arm that is spoken of loses and costs, and against whom."""
    arms = found.tables["arms"]
    sentences = _choice(found)
    for _, arm in spoken_of(arms, set(arms["arm"])).iterrows():
        sentences += [_loss(arm, found), *_rivals(arm, found), *_spliced(arm, arms)]
    return " ".join([*sentences, *_dominated(arms), *caveats(found, long=True)])


def caveats(found: Findings, long: bool = False) -> list[str]:
    """What the numbers do not tell, in a few words each or in sentences, the gravest first."""
    arms = found.tables["arms"]
    n_seeds = int(arms["n_seeds"].min())
    said = []
    if n_seeds == 1:
        none = "Only 1 seed: there are no intervals, and nothing is decided; use at least three."
        said = [("only 1 seed: no intervals, so nothing is decided", none)]
    elif n_seeds < _FEW_SEEDS:
        wide = f"Intervals are Student's t over {n_seeds} seeds, and so few leave much undecided."
        said = [(f"few seeds ({n_seeds})", wide)]
    if _lacks_rival(best(arms), found.tables["comparisons"]):
        said.append(("no per-layer rival of equal training", _NO_RIVAL))
    said += [*_dead(arms), *_convergence(arms)]
    return [each[long] for each in said]


def _choice(found: Findings) -> list[str]:
    arms, margins = found.tables["arms"], found.margins
    chosen, controls = best(arms), cheaper_controls(arms)
    limits = (
        f"margins of {share(margins['mean'])} in the mean and {share(margins['worst'])} in the"
        " worst layer (excess FVU over full per-layer training, on the validation split)"
    )
    if chosen["arm"] == PER_LAYER:
        but = " but controls" if controls else ""
        sentences = [
            f"No arm{but} that costs less than full per-layer training is within the {limits}."
        ]
    else:
        there = (
            f"{percent(chosen['excess_fvu_validation'], True)} and"
            f" {percent(chosen['excess_fvu_worst_validation'], True)} there"
        )
        but = ", controls apart," if controls else ""
        sentences = [
            f"The cheapest arm{but} within the {limits} is {full_label(chosen)} ({there})."
        ]
    if controls:
        sentences.append(
            f"Controls are not chosen; within these margins for less training: {listed(controls)}."
        )
    return [*sentences, "What follows is from the test split."]


def _loss(arm: pd.Series, found: Findings) -> str:
    """What an arm loses against full training, at what cost; its clusters where it has any."""
    known = found.partitions.get(arm["partition"])
    several = known if arm["partition"] not in (PER_LAYER, SINGLE) else None
    clusters = f" (layers {', '.join(several['clusters'])})" if several else ""
    return (
        f"{_capital(full_label(arm))}{clusters} against full per-layer training:"
        f" {_numbers(arm)}, which is layer {arm['worst_excess_layer']};"
        f" {percent(arm['cost_relative'])} of the measured cost (predicted"
        f" {percent(arm['cost_relative_predicted'])}; without tuning"
        f" {percent(arm['cost_relative_untuned'])}){_pilots(arm, found)}."
        f"{_equal_cost(arm)}{_ends(arm, found)}"
    )


def _equal_cost(arm: pd.Series) -> str:
    """Beside per-layer SAEs of equal total cost, in the units in which there are such."""
    parts = [
        f"{name} ({percent(arm[f'budget_equal_{unit}'])} of the training):"
        f" {_with_interval(arm, f'excess_fvu_equal_{unit}')} ({arm[f'verdict_equal_{unit}']})"
        for unit, name in (("seconds", "seconds"), ("flops", "FLOPs"))
        if not np.isnan(arm[f"excess_fvu_equal_{unit}"])
    ]
    if not parts:
        return ""
    joined = "; of equal ".join(parts)
    return f" Mean FVU against per-layer SAEs of equal total {joined} (interpolated)."


def _ends(arm: pd.Series, found: Findings) -> str:
    """What the cost comes to on models that are all caching, or all training."""
    cost = found.tables.get("cost")
    if cost is None:
        return ""
    row = cost.set_index("arm").loc[arm["arm"]]
    return (
        f" Where caching is all that costs, it comes to {percent(row['relative_caching'])} of full"
        f" per-layer training; where training is, to {percent(row['relative_training'])}."
    )


def _pilots(arm: pd.Series, found: Findings) -> str:
    cost = found.tables.get("cost")
    seconds = 0 if cost is None else cost.set_index("arm").loc[arm["arm"], "pilot_seconds"]
    return f", of which {seconds:.3g} s are the pilot trainings that proposed it" if seconds else ""


def _rivals(arm: pd.Series, found: Findings) -> list[str]:
    """The arm beside each of its rivals; those of other training only where none is alike."""
    arms = found.tables["arms"].set_index("arm", drop=False)
    rows = found.tables["comparisons"]
    rows = rows[(rows["arm"] == arm["arm"]) & (rows["against"] != PER_LAYER)]
    alike = same_training(rows["matched_count"], rows["against_matched_count"])
    parts = [
        f"{full_label(arms.loc[row['against']])}: {_numbers(row)}, cost ratio"
        f" {row['cost_ratio']:.2f}"
        for _, row in rows[alike | (rows["role"] == "equal-exposure")].iterrows()
    ]
    return [f"Against {'; against '.join(parts)}."] if parts else []


def _lacks_rival(arm: pd.Series, comparisons: pd.DataFrame) -> bool:
    """Whether an arm has no per-layer SAEs of equal training to be held against."""
    rows = comparisons[
        (comparisons["arm"] == arm["arm"]) & (comparisons["role"] == "equal-compute")
    ]
    alike = same_training(rows["matched_count"], rows["against_matched_count"])
    return arm["role"] in ("main", "specialised") and not alike.any()


def _numbers(row: pd.Series) -> str:
    """Mean FVU with its interval and what that shows; the same of the worst layer.

    An interval that holds zero is no parity (see `statistics.equivalence`).
    """
    ends = row[["excess_fvu_low", "excess_fvu_high"]].dropna()  # none with one seed
    if row["excess_fvu"] == 0 and (ends == 0).all():
        return "the same SAEs"
    return (
        f"mean FVU {_with_interval(row, 'excess_fvu')} ({row['verdict']}), worst layer"
        f" {_with_interval(row, 'excess_fvu_worst')} ({row['verdict_worst']})"
    )


def _with_interval(row: pd.Series, column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return f"{percent(row[column], True)} {bounds(low, high)}".rstrip()


def _spliced(arm: pd.Series, arms: pd.DataFrame) -> list[str]:
    full = arms[arms["arm"] == PER_LAYER].iloc[0]
    if np.isnan(arm["ce_all"]) or np.isnan(full["ce_all"]):
        return []
    return [
        f"With all layers spliced at once, cross-entropy is {arm['ce_all']:.3f} nats per token"
        f" against {full['ce_all']:.3f} with full per-layer SAEs ({_nats(arm)} over seeds) and"
        f" {arm['ce_clean']:.3f} without SAEs. With no reconstruction longer than what it replaces"
        f" the difference is {_nats(arm, '_bounded')}."
    ]


def _nats(arm: pd.Series, kind: str = "") -> str:
    name = f"excess_ce_all{kind}"
    excess, low, high = (
        f"{arm[f'{name}{end}']:+.3f}".replace("-", "−") for end in ("", "_low", "_high")
    )
    return excess if np.isnan(arm[f"{name}_low"]) else f"{excess} [{low} to {high}]"


def _dominated(arms: pd.DataFrame) -> list[str]:
    below: dict[str, list[str]] = {}
    for _, arm in arms[arms["dominated"]].iterrows():
        by = full_label(dominating(arms, arm).iloc[0])
        below.setdefault(by, []).append(full_label(arm))
    if not below:
        return []
    parts = "; ".join(f"by {by}: {listed(names)}" for by, names in below.items())
    return [f"Dominated (worse than another arm that takes no more training) are {parts}."]


def _dead(arms: pd.DataFrame) -> list[tuple[str, str]]:
    first, full = best(arms), arms[arms["arm"] == PER_LAYER].iloc[0]
    if first["dead_fraction"] == full["dead_fraction"] == 0:
        return []
    own, base = (f"{100 * arm['dead_fraction']:.2g} %" for arm in (first, full))
    short, on = f"{own} of latents dead", f"on {first['n_tokens_dead']:,.0f} held-out tokens"
    if first["arm"] == PER_LAYER:
        return [(short, f"Of its latents {own} are dead {on}.")]
    dead = (
        f"Of {full_label(first)} {own} of the latents are dead {on}, of full per-layer SAEs {base}."
    )
    return [(f"{short} (per-layer {base})", dead)]


def _convergence(arms: pd.DataFrame) -> list[tuple[str, str]]:
    """What per-layer SAEs of the longest training, else of the next shorter one, show."""
    kinds = arms["variant"].map(kind_of)
    lengths = arms[(arms["role"] == "equal-compute") & (kinds == "tokens")]
    longer = lengths[lengths["matched_count"] > lengths["n_layers"]]
    shorter = lengths[lengths["matched_count"] < lengths["n_layers"]]
    if len(longer):
        arm, limit = longer.loc[longer["matched_count"].idxmax()], -_CONVERGED
    elif len(shorter):
        arm, limit = shorter.loc[shorter["matched_count"].idxmax()], 2 * _CONVERGED
    else:
        return []
    excess = arm["excess_fvu"]
    if (excess >= limit) if limit < 0 else (excess <= limit):
        return []
    other = f"{percent(abs(excess))} {'less' if excess < 0 else 'more'} FVU"
    return [
        (
            "training not converged",
            f"Training is not converged: per-layer SAEs with {share(budget(arm))} of the training"
            f" have {other}, so the gaps may differ with more tokens.",
        )
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
