"""Measured cost of every arm beside the prediction A + K T."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from clustersae.experiment import variants
from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.variants import CROSSCODER
from clustersae.presentation.judging import same_training
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.specialised import SPECIALISED, start_of
from clustersae.presentation.style import (
    FAINT,
    GREY,
    HIGHLIGHT,
    INK,
    METHOD_COLOURS,
    METHOD_NAMES,
    canvas,
    conditions,
    kind_of,
    name_of,
    styled,
    thinned,
)
from clustersae.presentation.words import percent, saes, share

_UNITS = ((7200.0, "hours", 3600.0), (600.0, "minutes", 60.0), (0.0, "seconds", 1.0))


def draw(cost: pd.DataFrame, arms: pd.DataFrame, model: str) -> Figure:
    """Stacked bars, caching and training, measured above predicted.

    Shows the K of the main method (a selection where there are many); at the chosen K every rival;
    and of the specialised arms the one that the verdict names, beside per-layer SAEs of equal
    training.

    Args:
        cost: `tables/cost.csv`.
        arms: `tables/arms.csv`.
        model: name for the subtitle.
    """
    shown = shared(arms)
    rows = _selected(cost, shown, specialised(arms))
    n_layers, n_seeds = int(arms["n_layers"].max()), int(cost["n_seeds"].min())
    unit, seconds = next(
        (name, size) for limit, name, size in _UNITS if rows["total_seconds"].max() >= limit
    )
    bars = "bars: 95 % interval over seeds" if n_seeds > 1 else "one seed: no intervals"
    colour = METHOD_COLOURS[PER_LAYER if shown is None else kind_of(shown)]
    with styled():
        figure = canvas(
            9,
            0.42 * len(rows) + 1.1,
            _finding(cost, shown),
            conditions(model, n_layers, n_seeds, "measured above, predicted A + K·T below", bars),
        )
        axis = figure.subplots()
        for y, (_, row) in enumerate(rows.iterrows()):
            _bar(axis, y, row, seconds)
        labels = [_name(row, n_layers) for _, row in rows.iterrows()]
        axis.set_yticks(range(len(rows)), labels)
        if shown is not None:
            at = list(rows["arm"]).index(shown["arm"])
            axis.get_yticklabels()[at].set(color=HIGHLIGHT, weight="bold")
        axis.tick_params(axis="y", length=0)
        axis.invert_yaxis()
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1.22 * rows["total_seconds"].max() / seconds)
        axis.grid(True, axis="x")
        axis.set_xlabel(f"measured time of the work itself ({unit})")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(
            handles=[
                Patch(color=GREY, label="caching what is read, once (A)"),
                Patch(color=colour, label="training and tuning, measured"),
                Patch(facecolor="white", edgecolor=GREY, label="training, predicted (K·T)"),
            ],
            loc="outside lower center",
            ncols=3,
        )
    return figure


def _selected(
    cost: pd.DataFrame, shown: pd.Series | None, specialised: pd.Series | None
) -> pd.DataFrame:
    main = cost[cost["role"] == "main"].drop_duplicates("count").sort_values("count")
    at = [] if shown is None else [int(shown["count"])]
    main = main[main["count"].isin(thinned(list(main["count"]), 12, at))]
    rivals = ~cost["role"].isin(["main", "baseline", SPECIALISED])
    others = cost[rivals & cost["matched_count"].isin(at)]
    parts = [cost[cost["arm"] == PER_LAYER], main[::-1], others]
    if specialised is not None:
        spent = specialised["matched_count"]
        equal = same_training(cost["matched_count"], spent)
        tokens = (cost["role"] == "equal-compute") & (
            cost["variant"].map(variants.kind_of) == "tokens"
        )
        parts += [cost[cost["arm"] == specialised["arm"]], cost[equal & tokens]]
    return pd.concat(parts, ignore_index=True).drop_duplicates("arm", ignore_index=True)


def _finding(cost: pd.DataFrame, shown: pd.Series | None) -> str:
    wrong = (cost["predicted_seconds"] / cost["total_seconds"] - 1).abs().max()
    model = f"A + K·T predicts every arm to within {percent(max(wrong, 0.001))}"
    if shown is None:
        return model
    row = cost[cost["arm"] == shown["arm"]].iloc[0]
    return (
        f"{saes(shown['count'])} instead of {int(shown['n_layers'])}:"
        f" {percent(row['relative'])} of the time; {model}"
    )


def _name(row: pd.Series, n_layers: int) -> str:
    kind, spent = kind_of(row), row["matched_count"]
    if row["role"] == "baseline":
        return METHOD_NAMES[kind]
    if row["role"] == SPECIALISED:
        return f"specialised {start_of(row['partition'])} ({share(spent / n_layers)} of training)"
    if row["role"] == "rival":
        several = f", K = {row['count']}" if kind == CROSSCODER and row["count"] > 1 else ""
        return f"{METHOD_NAMES[kind]}{several} ({share(spent / n_layers)})"
    if row["role"] == "equal-compute":
        as_many = f"as K = {spent:g}" if spent == round(spent) else f"{share(spent / n_layers)}"
        return f"{name_of(row, n_layers)} ({as_many})"
    if row["method"] == SINGLE:
        return METHOD_NAMES[SINGLE]
    exposure = ", equal exposure" if row["role"] == "equal-exposure" else ""
    return f"{METHOD_NAMES[kind]}, K = {row['count']}{exposure}"


def _bar(axis, y: int, row: pd.Series, unit: float) -> None:
    colour = METHOD_COLOURS[kind_of(row)]
    once, total = row["caching_seconds"] / unit, row["total_seconds"] / unit
    predicted = row["predicted_seconds"] / unit
    for height, offset, end, face in ((0.4, -0.17, total, colour), (0.2, 0.19, predicted, "white")):
        axis.barh(y + offset, once, height, color=GREY if face != "white" else FAINT, zorder=3)
        axis.barh(
            y + offset,
            end - once,
            height,
            left=once,
            color=face,
            edgecolor=colour,
            lw=0.8,
            zorder=3,
        )
    low, high = row["total_seconds_low"] / unit, row["total_seconds_high"] / unit
    if not np.isnan(low):
        axis.plot([low, high], [y - 0.17] * 2, color=INK, linewidth=1.4, zorder=4)
    axis.annotate(
        f"{percent(row['relative'])}  (predicted {percent(row['relative_predicted'])})",
        *((max(total, predicted, high if high == high else 0), y), (5, 0)),
        textcoords="offset points",
        va="center",
        size=8,
        color=INK,
    )
