"""Specialised arms: which one to show, its rivals, and what came out in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.clusters import FROM
from clustersae.presentation.judging import judged_excess, same_training
from clustersae.presentation.words import interval_text, percent, share


def best_by_budget(arms: pd.DataFrame) -> pd.DataFrame:
    """Of the specialised arms of each budget the one whose worst layer came out best."""
    rows = arms[arms["role"] == SPECIALISED].sort_values("matched_count")
    if rows.empty:
        return rows
    spent = rows["matched_count"]
    budgets = (~same_training(spent, spent.shift())).cumsum()
    return rows.loc[rows.apply(judged_excess, axis=1).groupby(budgets).idxmin()]


def against_lengths(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Specialised arms against per-layer SAEs of any length, the full ones included.

    Columns of `comparisons`, and `length` (training of the rival over that of full per-layer
    SAEs), `ratio` (training of the arm over that of the rival).
    """
    per_layer = (comparisons["against"] == PER_LAYER) | comparisons["against"].str.startswith(
        f"{PER_LAYER} (tokens-"
    )
    rows = comparisons[comparisons["arm"].str.startswith(f"{PER_LAYER}{FROM}") & per_layer]
    return rows.assign(
        length=rows["against_matched_count"] / rows["n_layers"],
        ratio=rows["matched_count"] / rows["against_matched_count"],
    )


def at_equal_training(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The rows of `against_lengths` in which both arms were trained alike long."""
    rows = against_lengths(comparisons)
    return rows[same_training(rows["matched_count"], rows["against_matched_count"])]


def sentences(
    arms: pd.DataFrame,
    comparisons: pd.DataFrame,
    tolerance: float,
    pilot: Mapping[str, Any] | None = None,
) -> list[str]:
    """What specialising brings; nothing where it was not tried.

    Args:
        pilot: `chosen_specialised.json`, where pilots chose the one specialised arm there is.
    """
    arm = specialised_arm(arms, tolerance)
    if arm is None:
        return []
    rival = at_equal_training(comparisons[comparisons["arm"] == arm["arm"]])
    found = [_standing(arm, tolerance) if pilot is None else _proposal(arm, pilot)]
    if rival.empty:
        found.append("No per-layer SAEs of equal training stand beside it.")
    else:
        row = rival.iloc[0]
        found.append(
            f"Against per-layer SAEs of equal training, {_outcome(row)}"
            f" ({_numbers(row)}; measured cost ratio {row['cost_ratio']:.2f})."
        )
    found.append(
        f"Against full per-layer training, {_outcome(arm)} ({_numbers(arm, pilot)}),"
        f" at {percent(arm['cost_relative'])} of the measured cost."
    )
    return [*found, *_full_quality(arms, arm)]


def _standing(arm: pd.Series, tolerance: float) -> str:
    worst = arm["excess_fvu_worst_validation"]
    there = "" if np.isnan(worst) else f"{percent(worst, True)} there"
    split = "test" if np.isnan(worst) else "validation"
    limit = f"within {100 * tolerance:g} % on the {split} split"
    start, spent = start_of(arm["partition"]), share(budget(arm))
    if judged_excess(arm) <= tolerance:
        return (
            f"Shared first and then specialised to each layer ({start}), SAEs need {spent} of the"
            f" training of full per-layer SAEs, the smallest budget tried that keeps the worst"
            f" layer {limit}{there and f' ({there})'}."
        )
    return (
        f"Shared first and then specialised to each layer, SAEs did not keep the worst layer"
        f" {limit} at any budget tried; the closest are those with {spent} of the training of full"
        f" per-layer SAEs ({start}{there and f', {there}'})."
    )


def _proposal(arm: pd.Series, pilot: Mapping[str, Any]) -> str:
    """Pilots choose by the mean FVU, and the arm of their choice is the only one trained."""
    chosen = pilot["from"], pilot["budget"]
    candidates = {(each["from"], each["budget"]): each for each in pilot["candidates"]}
    excess = percent(candidates[chosen]["excess_fvu"], True)
    target = f"the target of {share(pilot['target'])}"
    enough = f"the least training within {target}"
    nearest = f"which is not within {target} but the closest to it"
    return (
        f"Of {len(candidates)} ways to share first and then specialise to each layer, pilot"
        f" trainings ({share(pilot['pilot_fraction'])} of the activations) proposed"
        f" {share(budget(arm))} of the training of full per-layer SAEs"
        f" ({start_of(arm['partition'])}), {enough if pilot['within_target'] else nearest}: mean"
        f" FVU {excess} against per-layer pilots on the validation split; the cost of the pilots is"
        f" part of that of the specialised SAEs."
    )


def _outcome(row: pd.Series) -> str:
    excess, low, high = row["excess_fvu"], row["excess_fvu_low"], row["excess_fvu_high"]
    if np.isnan(low):
        return "their mean FVU differs, with nothing to tell by how much it varies"
    if low <= 0 <= high:
        return "their mean FVU is not distinguishable"
    return f"specialising {'wins' if excess < 0 else 'loses'} in mean FVU"


def _numbers(row: pd.Series, pilot: Mapping[str, Any] | None = None) -> str:
    aim = "" if pilot is None else f" where the target was {share(pilot['target'])}"
    return (
        f"{percent(row['excess_fvu'], True)}{aim},"
        f" {interval_text(row['excess_fvu_low'], row['excess_fvu_high'])}; worst layer"
        f" {percent(row['excess_fvu_worst'], True)}"
    )


def _full_quality(arms: pd.DataFrame, shown: pd.Series) -> list[str]:
    """The budget that comes down to full per-layer training, if the shown one does not.

    Chosen by the estimate on validation; that an interval holds zero would not be enough, since
    the wider it is, the sooner it does.
    """
    rows = arms[arms["role"] == SPECIALISED]
    if len(rows) == 1 or not _bound(shown) > 0:
        return []
    excess = rows.apply(judged_excess, axis=1, column="excess_fvu")
    on_test = np.isnan(shown["excess_fvu_validation"])
    split = f"on the {'test' if on_test else 'validation'} split"
    reached = rows[excess <= 0]
    if reached.empty:
        most = share(float(rows["matched_count"].max() / shown["n_layers"]))
        return [f"No specialised SAEs, up to {most} of the training, reach its mean FVU {split}."]
    least = reached[same_training(reached["matched_count"], reached["matched_count"].min())]
    arm = least.loc[excess[least.index].idxmin()]
    numbers = (
        f"{percent(arm['excess_fvu'], True)}"
        f"{'' if on_test else ' on the test split'},"
        f" {interval_text(arm['excess_fvu_low'], arm['excess_fvu_high'])}"
    )
    return [
        f"The smallest budget tried that reaches its mean FVU {split} is {share(budget(arm))} of"
        f" the training ({start_of(arm['partition'])}: {numbers})."
    ]


def _bound(arm: pd.Series) -> float:
    """The lower end of the excess over full training; the estimate where there is no interval."""
    low = arm["excess_fvu_low"]
    return float(arm["excess_fvu"] if np.isnan(low) else low)
