"""Whether a shared latent means the same on every layer that it serves, and what sharing costs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.variants import EQUAL_EXPOSURE
from clustersae.features.summary import arm_words, most_lost, shows_difference, spoken_of
from clustersae.presentation.points import handles_of, looks_of_arms, places_of, point, reference
from clustersae.presentation.style import (
    GREY,
    INK,
    METHOD_COLOURS,
    Look,
    canvas,
    conditions,
    styled,
)
from clustersae.presentation.words import percent


class _Panel(NamedTuple):
    """One measure of every arm; names are those of columns.

    Attributes:
        value: where points stand; an arm without it is left out.
        reference: of the full per-layer SAEs: a line with its interval.
        most, least: what the value could be at best and by chance: a dash above and one below.
        difference: a point is hollow unless this has an interval that excludes zero.
    """

    title: str
    label: str
    value: str
    reference: str | None = None
    most: str | None = None
    least: str | None = None
    difference: str | None = None


_RULES = _Panel(
    "Same meaning on another layer?",
    "balanced accuracy on other layers\n(dash: on the layer of the rule)",
    *("meaning_other", "meaning_own", "meaning_ceiling", "meaning_floor", "meaning_lost"),
)
_KEPT = _Panel(
    "How many rules hold on another layer?",
    "rules that hold on another layer,\nof those that hold on their own",
    "share_pairs_kept",
)
_SPREAD = _Panel(
    "On how many layers is it active?",
    "effective layers of a latent\n(dash: layers that it serves)",
    *("effective_layers", None, "layers_served"),
)
_SIMILARITY = _Panel(
    "Does it write what per-layer SAEs write?",
    "cosine to the nearest decoder row\nof per-layer SAEs",
    *("similarity", "similarity", None, "similarity_floor", "similarity_vs_baseline"),
)
_COVERAGE = _Panel(
    "Are known factors still found?",
    "best F1 of a latent,\nmean over factor values",
    *("coverage", "coverage", None, None, "coverage_vs_baseline"),
)
_JUDGE = _Panel(
    "Does a judge recognise it elsewhere?",
    "detection score on other layers\n(dash: on the layer explained)",
    *("detection_other", "detection_own", "detection_ceiling", None, None),
)


def draw(
    features: pd.DataFrame, meaning: pd.DataFrame, coverage: pd.DataFrame, model: str
) -> Figure:
    """One panel per question; those that nothing was measured for are left out.

    Arms at equal exposure, and those that were trained for longer than the full per-layer SAEs,
    are left to the table.

    Args:
        features: `tables/features.csv`.
        meaning: `tables/feature_meaning.csv`.
        coverage: `tables/feature_coverage.csv`.
        model: name for the subtitle.
    """
    with styled():
        baseline = features[features["arm"] == PER_LAYER].iloc[0]
        n_layers = int(baseline["count"])
        chosen = features["matched_count"] <= n_layers
        rows = features[chosen & (features["role"] != EQUAL_EXPOSURE)]
        spoken = spoken_of(rows)
        panels = _panels(rows, len(spoken) > 0)
        if not panels:
            return canvas(7.5, 0.1, _finding(spoken, baseline), model)
        n_rows = 1 if len(panels) < 4 else 2
        n_columns = -(-len(panels) // n_rows)
        figure = canvas(
            *(3.9 * max(2, n_columns) + 0.3, 0.9 + 2.75 * n_rows),
            _finding(spoken, baseline),
            _conditions(model, baseline, panels),
        )
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        looks, places = looks_of_arms(rows, n_layers), places_of(rows, n_layers)
        for axis, panel in zip(axes, panels):
            if panel is None:
                _by_distance(axis, meaning, spoken, looks)
            else:
                _against_training(axis, rows, panel, looks, places)
            if panel is _COVERAGE:
                _name_most_lost(axis, coverage, spoken)
        handles = [*handles_of(looks), _by_chance()]
        if len(axes) > len(panels):
            axes[-1].axis("off")
            axes[-1].legend(handles=handles, loc="center", ncols=1)
        else:
            columns = int(figure.get_figwidth() / 2.2)
            figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


def _panels(rows: pd.DataFrame, shared: bool) -> list[_Panel | None]:
    """Those with something to show; None stands for rules by the distance between layers."""
    of_shared = [_RULES, None, _KEPT, _SPREAD] if shared else []
    measured = [
        panel
        for panel in (*of_shared, _SIMILARITY, _COVERAGE, _JUDGE)
        if panel is None or rows[panel.value].notna().any()
    ]
    # Where no rule was scored on another layer there is no distance either.
    return [panel for panel in measured if panel or _RULES in measured]


def _finding(spoken: pd.DataFrame, baseline: pd.Series) -> str:
    if spoken.empty:
        return "No SAE serves several layers, so no latent can change its meaning"
    row = spoken.iloc[0]
    who = arm_words(row, baseline)
    parts = ["no rule could be tested on another layer"]
    if not np.isnan(row["share_pairs_kept"]):
        parts = [f"{percent(row['share_pairs_kept'])} of rules keep their meaning on another layer"]
    if not np.isnan(row["share_kept"]):
        parts[0] += f" ({percent(row['share_kept'])} of latents theirs on all)"
    if not np.isnan(row["meaning_lost"]):
        parts.append(
            f"rules are right at {row['meaning_ceiling']:.2f} on their own layer,"
            f" {row['meaning_other']:.2f} on others, {row['meaning_floor']:.2f} by chance"
        )
    if not np.isnan(row["coverage"]):
        known = shows_difference(row, "coverage_vs_baseline")
        parts.append(
            f"known factors are found with F1 {row['coverage']:.2f},"
            f" per layer {baseline['coverage']:.2f}{'' if known else ' (no difference shown)'}"
        )
    return f"{who[0].upper()}{who[1:]}: {'; '.join(parts)}"


def _conditions(model: str, baseline: pd.Series, panels: list[_Panel | None]) -> str:
    n_layers, n_seeds = int(baseline["count"]), int(baseline["n_seeds"])
    notes = ["bars and bands: 95 % intervals over seeds"]
    if n_seeds == 1:
        notes = ["one seed: no intervals, and no other seed to be similar to"]
    which = ["the rule's own layer"] * (_RULES in panels) + ["per-layer SAEs"]
    notes.append(f"hollow: no difference from {' or '.join(which)} shown (interval holds zero)")
    return conditions(model, n_layers, n_seeds, *notes)


def _against_training(
    axis: Axes,
    rows: pd.DataFrame,
    panel: _Panel,
    looks: Mapping[str, Look],
    places: Mapping[str, float],
) -> None:
    baseline = rows[rows["arm"] == PER_LAYER].iloc[0]
    if panel.reference:
        reference(axis, baseline, panel.reference)
    shown = rows[rows[panel.value].notna()]
    if panel is _SPREAD:  # one layer is all that a latent of its own SAE has
        shown = shown[(shown["layers_served"] > 1) | (shown["arm"] == PER_LAYER)]
    main = shown[shown["role"] == "main"].sort_values("count")
    # With one SAE per layer there is no other layer, but nearly all else can be asked.
    ends = pd.concat([main, shown[shown["arm"] == PER_LAYER]])
    colour = METHOD_COLOURS["complete"]
    axis.plot(ends["matched_count"], ends[panel.value], color=colour, lw=1.0, alpha=0.5, zorder=2)
    for _, arm in shown.iterrows():
        place = places[arm["arm"]]
        look = looks.get(arm["arm"], Look(INK, "o", ""))
        if panel.least:
            _dash(axis, place, arm[panel.least], GREY)
        if panel.most:
            axis.plot([place] * 2, arm[[panel.value, panel.most]], color=look.colour, lw=0.8)
            _dash(axis, place, arm[panel.most], look.colour)
        alone = arm["arm"] == PER_LAYER
        filled = alone or not panel.difference or shows_difference(arm, panel.difference)
        # The interval of per-layer SAEs is the band.
        point(axis, arm, panel.value, place, look, filled, not (alone and panel.reference))
    axis.set_title(panel.title)
    axis.set_ylabel(panel.label)
    axis.set_xlabel("training, in per-layer SAEs")
    margin = 0.05 * baseline["count"]
    axis.set_xlim(min(places.values(), default=1) - margin, baseline["count"] + margin)
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.grid(True, axis="y")
    if panel is _KEPT:
        axis.yaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    if panel in (_KEPT, _SPREAD):
        axis.set_ylim(0, 1.04 * axis.get_ylim()[1])  # markers at the top are not cut off


def _dash(axis: Axes, place: float, height: float, colour: str) -> None:
    axis.plot(place, height, "_", color=colour, markersize=6, markeredgewidth=1.6, zorder=3)


def _by_distance(
    axis: Axes, meaning: pd.DataFrame, spoken: pd.DataFrame, looks: Mapping[str, Look]
) -> None:
    """Means over pairs of layers equally far apart, in groups of several layers."""
    rows = meaning[meaning["n_layers"] > 1]
    rows = rows.assign(distance=(rows["other_layer"] - rows["layer"]).abs())
    for name in spoken["arm"]:
        means = rows[rows["arm"] == name].groupby("distance")[["balanced_accuracy", "floor"]].mean()
        look = looks[name]
        axis.plot(means["balanced_accuracy"], **look.sized(5, star=8), lw=1.4, zorder=3)
        axis.plot(means["floor"], "_", color=GREY, markersize=6, markeredgewidth=1.6, zorder=2)
    axis.set_title("How far does a rule carry?")
    axis.set_ylabel("balanced accuracy,\nmean over pairs of layers")
    axis.set_xlabel("layers from where the rule was learned")
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.grid(True, axis="y")


def _name_most_lost(axis: Axes, coverage: pd.DataFrame, spoken: pd.DataFrame) -> None:
    """Below the title: the factor that the first arm loses most on."""
    for arm in spoken["arm"][:1]:
        factor = most_lost(coverage, arm)
        if factor is not None:
            value = f"{factor['f1_vs_baseline']:+.2f}".replace("-", "−")
            name = str(factor["factor"]).replace("_", " ")
            axis.set_xlabel(f"training, in per-layer SAEs\n(most lost: {name}, {value})")


def _by_chance() -> Line2D:
    drawn: dict[str, Any] = {"color": GREY, "marker": "_", "ls": "none", "mew": 1.6}
    return Line2D([], [], label="random latent or direction", **drawn)
