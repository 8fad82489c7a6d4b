"""What specialising shared SAEs brings: quality against cost, and gaps at equal training."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.shown import specialised
from clustersae.presentation.specialised import SPECIALISED, at_equal_training, budget, start_of
from clustersae.presentation.starts import looks_of
from clustersae.presentation.style import (
    HIGHLIGHT,
    INK,
    MARKERS,
    METHOD_COLOURS,
    METHOD_NAMES,
    Look,
    bars,
    canvas,
    conditions,
    intervals_note,
    kind_of,
    log_scale,
    styled,
)
from clustersae.presentation.words import interval_text, percent, share
from clustersae.quality.figure_gaps import gaps

_PANELS = {
    "fvu": ("Mean over layers", "FVU (share of variance lost)"),
    "fvu_worst": ("Worst layer", "FVU of the worst layer"),
    "delta_ce_all": ("All layers spliced at once", "rise of cross-entropy (nats per token)"),
}


#: What the last panel has behind its curves.
_BAND = "grey band: ±{} %, which does not matter"


def draw(
    arms: pd.DataFrame, comparisons: pd.DataFrame, margins: Mapping[str, float], model: str
) -> Figure:
    """FVU and cross-entropy against measured cost, and specialised against per-layer SAEs.

    Without specialised arms, a line that says so.

    Args:
        arms: `tables/arms.csv`.
        comparisons: `tables/comparisons.csv`.
        margins: largest excess FVU that does not matter, `mean` for the mean over layers.
        model: name for the subtitle.
    """
    shown = specialised(arms)
    baseline = arms[arms["arm"] == PER_LAYER].iloc[0]
    with styled():
        if shown is None:
            return canvas(
                *(7.5, 0.1, "No specialised SAEs were asked for"),
                f"{model} · set arms.specialised to train some",
            )
        spliced = arms[arms["role"] == SPECIALISED]["delta_ce_all"].notna().any()
        panels = [name for name in _PANELS if spliced or name != "delta_ce_all"]
        rows, columns = (2, 2) if spliced else (1, 3)
        looks = looks_of(arms.loc[arms["role"] == SPECIALISED, "partition"])
        figure = canvas(
            5.0 * columns if spliced else 4.3 * columns,
            3.7 * rows + 0.5,
            _finding(shown, comparisons),
            conditions(
                *(model, int(baseline["n_layers"]), int(baseline["n_seeds"]), "test split"),
                intervals_note(int(baseline["n_seeds"])),
                _BAND.format(f"{100 * margins['mean']:g}"),
                f"ring: {_ring(arms, shown)}",
            ),
        )
        axes = figure.subplots(rows, columns).ravel()
        for axis, name in zip(axes, panels):
            _against_cost(axis, arms, name, shown, looks)
        _names(axes[0], arms)
        gaps(axes[-1], comparisons, arms, looks, margins["mean"])
        _legend(figure, arms, looks)
    return figure


def _ring(arms: pd.DataFrame, shown: pd.Series) -> str:
    if (arms["role"] == SPECIALISED).sum() == 1:  # there was nothing to choose from
        return "the specialised SAEs of the title"
    if shown["within_margins"]:
        return "the smallest budget within the margins"
    return "least loss; no budget is within the margins"


def _finding(shown: pd.Series, comparisons: pd.DataFrame) -> str:
    text = (
        f"Specialised {start_of(shown['partition'])} with {share(budget(shown))} of the training:"
        f" mean FVU {percent(shown['excess_fvu'], True)} against full per-layer training"
        f" ({shown['verdict']})"
    )
    rival = at_equal_training(comparisons[comparisons["arm"] == shown["arm"]])
    if rival.empty:
        between = interval_text(shown["excess_fvu_low"], shown["excess_fvu_high"])
        return f"{text}, {between}"
    beside = rival.iloc[0]
    return (
        f"{text}, {percent(beside['excess_fvu'], True)} against per-layer at equal training"
        f" ({beside['verdict']})"
    )


def _against_cost(
    axis: Axes, arms: pd.DataFrame, column: str, shown: pd.Series, looks: dict[str, Look]
) -> None:
    title, label = _PANELS[column]
    axis.set_title(title)
    axis.set_ylabel(label)
    axis.set_xlabel("measured cost relative to per-layer training")
    axis.grid(True)
    arms = arms[arms[column].notna()].sort_values(["cost_relative", "count"])
    kinds = arms.apply(kind_of, axis=1)
    lengths = arms[kinds.isin([PER_LAYER, "tokens"])]
    shared = arms[arms["role"] == "main"]
    _curve(axis, lengths, column, Look(INK, "o", ""), width=1.6)
    _curve(axis, shared, column, Look(METHOD_COLOURS["complete"], "o", ""), dashes=(3, 2))
    narrow = arms[kinds == "narrower"]
    _curve(axis, narrow, column, Look(METHOD_COLOURS["narrower"], MARKERS["narrower"], ""), (2, 2))
    for partition, look in looks.items():
        _curve(axis, arms[arms["partition"] == partition], column, look, width=1.6)
    rivals = arms[arms["role"] == "rival"]
    for method, look in _rivals(arms).items():
        for _, rows in rivals[rivals["method"] == method].groupby("count"):
            _curve(axis, rows, column, look, dashes=(2, 2))
    drawn = pd.concat([lengths, shared, narrow, arms[arms["role"] == SPECIALISED], rivals])
    axis.axhline(drawn.loc[drawn["arm"] == PER_LAYER, column].item(), color=INK, lw=0.8, zorder=1)
    axis.plot(
        *(shown["cost_relative"], shown[column], "o"),
        ms=13,
        mfc="none",
        mec=HIGHLIGHT,
        mew=1.6,
        zorder=6,
    )
    _limits(axis, drawn, column)
    _far_above(axis, shared, column)


def _curve(
    axis: Axes,
    rows: pd.DataFrame,
    column: str,
    look: Look,
    dashes: tuple[float, float] | None = None,
    width: float = 0.9,
) -> None:
    """Points with intervals, joined in order of cost; dashed ones are open or thin."""
    if rows.empty:
        return
    axis.errorbar(
        *(rows["cost_relative"], rows[column], bars(rows, column)),
        **look.sized(5.5, star=8.5),
        markerfacecolor="white" if look.colour == METHOD_COLOURS["narrower"] else look.colour,
        linewidth=width,
        linestyle=(0, dashes) if dashes else "-",
        elinewidth=1.0,
        zorder=4 if dashes is None else 3,
    )


def _limits(axis: Axes, drawn: pd.DataFrame, column: str) -> None:
    """Log scales round the points, but for shared and narrower SAEs far above all others."""
    cost, values = drawn["cost_relative"], drawn[column]
    spare = max((cost.max() / cost.min()) ** 0.09, 1.06)
    axis.set_xlim(cost.min() / spare, cost.max() * spare)
    log_scale(axis, "x", 6, share)
    low = np.fmin(values, drawn[f"{column}_low"]).min()
    ends = np.fmax(values, drawn[f"{column}_high"])
    high, enough = ends.max(), 1.3 * ends[_is_at_issue(drawn)].max()
    high = min(high, enough) if high > 1.3 * enough else high
    if low <= 0:
        spare = 0.08 * (high - low)
        axis.set_ylim(low - spare, high + spare)
        return
    spare = max((high / low) ** 0.08, 1.04)
    axis.set_ylim(low / spare, high * spare)
    log_scale(axis, "y", 7, lambda value: f"{value:.3g}")


def _is_at_issue(arms: pd.DataFrame) -> pd.Series:
    """Specialised arms, and per-layer SAEs of the base width and any length."""
    kinds = arms.apply(kind_of, axis=1)
    return kinds.isin([PER_LAYER, "tokens", SPECIALISED])


def _far_above(axis: Axes, shared: pd.DataFrame, column: str) -> None:
    """Arrows at the K whose points lie above the axis, where there is room."""
    low, high = np.log(axis.get_xlim())
    last = -np.inf
    for _, arm in shared[shared[column] > axis.get_ylim()[1]].iterrows():
        x = float(np.log(arm["cost_relative"]))
        if x - last < 0.06 * (high - low):
            continue
        last = x
        axis.annotate(
            f"K = {arm['count']}: {arm[column]:.2g} ↑",
            (arm["cost_relative"], 1),
            (0, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            size=7.5,
            color=METHOD_COLOURS["complete"],
            zorder=7,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _rivals(arms: pd.DataFrame) -> dict[str, Look]:
    """How other published ways to save training are drawn, by method."""
    return {
        method: Look(METHOD_COLOURS[method], MARKERS[method], METHOD_NAMES[method])
        for method in dict.fromkeys(arms.loc[arms["role"] == "rival", "method"])
    }


def _names(axis: Axes, arms: pd.DataFrame) -> None:
    """K of shared SAEs and length of per-layer training beside their points, where there is room.

    A length that costs what some K does goes without: its point is easily told.
    """
    kinds = arms.apply(kind_of, axis=1)
    lengths = arms[kinds.isin([PER_LAYER, "tokens"])].sort_values("matched_count")
    full = lengths[lengths["arm"] == PER_LAYER]
    visible = arms["fvu"] <= axis.get_ylim()[1]
    shared = arms[(arms["role"] == "main") & visible].sort_values("count", ascending=False)
    low, high = np.log(axis.get_xlim())
    kept: list[float] = []
    for rows in (full, shared, lengths.iloc[[-1, 0]], lengths):
        for _, arm in rows.iterrows():
            x = float(np.log(arm["cost_relative"]))
            if any(abs(x - other) < 0.07 * (high - low) for other in kept):
                continue
            kept.append(x)
            main = arm["role"] == "main"
            axis.annotate(
                f"K = {arm['count']}" if main else share(budget(arm)),
                *((arm["cost_relative"], arm["fvu"]), (4, 5)),
                textcoords="offset points",
                size=7.5,
                color=METHOD_COLOURS["complete"] if main else INK,
                zorder=7,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )


def _legend(figure: Figure, arms: pd.DataFrame, looks: dict[str, Look]) -> None:
    kinds = arms.apply(kind_of, axis=1)
    main = arms[arms["role"] == "main"]
    method = next(iter(main.loc[main["count"] > 1, "method"]), "single")
    found = [(Look(INK, "o", "per-layer, by length of training"), "-", INK)]
    found += [(look, "-", look.colour) for look in looks.values()]
    if len(main):
        blue = METHOD_COLOURS["complete"]
        found.append((Look(blue, "o", f"shared, K SAEs ({METHOD_NAMES[method]})"), "--", blue))
    if (kinds == "narrower").any():
        pink = METHOD_COLOURS["narrower"]
        found.append((Look(pink, MARKERS["narrower"], METHOD_NAMES["narrower"]), ":", "white"))
    found += [(look, ":", look.colour) for look in _rivals(arms).values()]
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ls=line, mfc=face, label=look.label)
        for look, line, face in found
    ]
    columns = len(handles) if len(handles) <= 3 else min(4, (len(handles) + 1) // 2)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.5)
