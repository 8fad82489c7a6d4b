"""Accuracy of k-sparse probes, arm by arm, between chance and the whole activation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.arms import full_label
from clustersae.presentation.style import (
    FAINT,
    GREY,
    HIGHLIGHT,
    INK,
    bars,
    canvas,
    conditions,
    intervals_note,
    styled,
)
from clustersae.probing.table import EVERY_LABEL
from clustersae.runtime.words import counted


def draw(table: pd.DataFrame, model: str) -> Figure:
    """Above accuracies, below what they differ by from full per-layer SAEs; a column for each k.

    Args:
        table: `tables/probing.csv`.
        model: name for the subtitle.
    """
    with styled():
        shown = table[table["label"] == EVERY_LABEL]
        if shown.empty:
            return canvas(
                *(7.5, 0.1, "No label is common enough in the text to be probed for"), model
            )
        first = shown.iloc[0]
        shown = shown.assign(name=[full_label(row) for _, row in shown.iterrows()])
        names = list(dict.fromkeys(shown["name"]))
        sizes = sorted(set(shown["k"]))
        figure = canvas(
            3.4 * len(sizes) + 2.4,
            0.6 * len(names) + 2.2,
            _finding(shown),
            conditions(
                *(model, int(first["n_layers"]), int(first["n_seeds"])),
                f"{counted(first['n_labels'], 'label')}, as many tokens with as without each",
                "fitted on the validation split, judged on the test split",
                intervals_note(int(first["n_seeds"])),
            ),
        )
        panels = figure.subplots(2, len(sizes), sharey=True, sharex="row", squeeze=False)
        for column, k in enumerate(sizes):
            rows = shown[shown["k"] == k].set_index("name").loc[names]
            upper, lower = panels[:, column]
            _points(upper, rows, "accuracy")
            upper.axvline(first["majority"], color=GREY, linestyle=(0, (1, 1.5)))
            upper.axvline(first["accuracy_activations"], color=GREY, linestyle="--")
            upper.set_title(counted(k, "latent"))
            upper.set_xlabel("accuracy (dots: chance, dashes: whole activation)", size=8)
            _points(lower, rows, "accuracy_vs_baseline")
            lower.xaxis.set_major_locator(MaxNLocator(4))
            lower.axvline(0, color=GREY, linewidth=0.8)
            lower.set_xlabel("less full per-layer SAEs", size=8)
        for axis in panels[:, 0]:
            axis.set_yticks(range(len(names)), names)
            axis.set_ylim(len(names) - 0.5, -0.5)
    return figure


def _points(axis: Axes, rows: pd.DataFrame, measure: str) -> None:
    values, places = rows[measure], np.arange(len(rows))
    ends = bars(rows, measure)
    colours = [HIGHLIGHT if role == "specialised" else INK for role in rows["role"]]
    for place, colour in enumerate(colours):
        axis.errorbar(
            *(values.iloc[place : place + 1], places[place : place + 1]),
            xerr=ends[:, place : place + 1],
            color=colour,
            marker="o",
            markersize=4,
            elinewidth=1.2,
        )
        axis.axhline(place, color=FAINT, linewidth=0.6, zorder=0)
    axis.grid(True, axis="x")


def _finding(shown: pd.DataFrame) -> str:
    """What one latent tells, per layer and with the arm that does best at that."""
    rows = shown[shown["k"] == shown["k"].min()].set_index("arm")
    own = rows.loc[PER_LAYER]
    start = (
        f"One latent of per-layer SAEs tells labels of tokens with an accuracy of"
        f" {own['accuracy']:.2f}, the whole activation with {own['accuracy_activations']:.2f}"
    )
    others = rows.drop(index=PER_LAYER)
    worse = int((others["accuracy_vs_baseline_high"] < 0).sum())
    better = int((others["accuracy_vs_baseline_low"] > 0).sum())
    if others.empty:
        return start
    return f"{start}; of {len(others)} other arms {better} are shown to do better, {worse} worse"
