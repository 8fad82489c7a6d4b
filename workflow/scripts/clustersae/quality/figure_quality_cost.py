"""What sharing loses against what it saves, for every K, the controls and equal compute."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import offset_copy

from clustersae.experiment.arms import PER_LAYER, SINGLE
from clustersae.experiment.variants import EQUAL_EXPOSURE
from clustersae.presentation.judging import same_training
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.specialised import SPECIALISED, best_by_budget
from clustersae.presentation.style import (
    GREY,
    HIGHLIGHT,
    INK,
    MARKERS,
    METHOD_COLOURS,
    METHOD_NAMES,
    bars,
    canvas,
    conditions,
    intervals_note,
    kind_of,
    percent_axis,
    styled,
)
from clustersae.presentation.words import interval_text, percent, saes


def draw(arms: pd.DataFrame, margins: Mapping[str, float], model: str) -> Figure:
    """FVU lost on average, on the worst layer, and CE with all layers spliced, against cost.

    Args:
        arms: `tables/arms.csv`.
        margins: largest acceptable excess FVU, `mean` and `worst`.
        model: name for the subtitle.
    """
    special = specialised(arms)
    arms = _drawn_arms(arms)
    shown = shared(arms)
    at_issue = arms[_spend_alike(arms, shown) | _spend_alike(arms, special)]
    baseline = arms[arms["arm"] == PER_LAYER].iloc[0]
    panels = ["excess_fvu", "excess_fvu_worst"]
    if arms["delta_ce_all"].notna().any():
        panels.append("delta_ce_all")
    with styled():
        figure = canvas(
            4.1 * len(panels),
            4.3,
            _finding(shown, baseline),
            conditions(
                model,
                int(baseline["n_layers"]),
                int(baseline["n_seeds"]),
                "test split",
                intervals_note(int(baseline["n_seeds"])),
                "band: margins within which a difference does not matter",
            ),
        )
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, column in zip(axes, panels):
            bounded = {"excess_fvu": "mean", "excess_fvu_worst": "worst"}.get(column)
            include = [margins[bounded]] if bounded else []
            _panel(axis, arms, column, shown, at_issue, include)
        axes[0].set_title("Mean over layers", pad=17)
        axes[0].set_ylabel("excess FVU over per-layer training")
        axes[1].set_title("Worst layer", pad=17)
        axes[1].set_ylabel("largest excess FVU of any layer")
        for axis, limit in zip(axes, (margins["mean"], margins["worst"])):
            axis.axhspan(-limit, limit, color=HIGHLIGHT, alpha=0.08, lw=0, zorder=0)
            axis.axhline(limit, color=HIGHLIGHT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axis.annotate(
                f"margin ±{100 * limit:g} %",
                *((0, limit), (2, 3)),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="left",
                size=8,
                color=HIGHLIGHT,
                zorder=8,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
        for axis in axes[:2]:
            percent_axis(axis)
        if len(panels) == 3:
            axes[2].set_title("All layers spliced at once", pad=17)
            axes[2].set_ylabel("rise of cross-entropy (nats per token)")
        _legend(figure, arms)
    return figure


def _drawn_arms(arms: pd.DataFrame) -> pd.DataFrame:
    """All but per-layer SAEs trained for longer, and of each budget's specialised arms the best."""
    longer = (arms["role"] == "equal-compute") & (arms["matched_count"] > arms["n_layers"])
    arms = arms[~longer]
    best = best_by_budget(arms).index
    return arms[(arms["role"] != SPECIALISED) | arms.index.isin(best)]


def _spend_alike(arms: pd.DataFrame, arm: pd.Series | None) -> pd.Series:
    """Which arms were trained as much as `arm`; none if there is none."""
    spent = np.nan if arm is None else arm["matched_count"]
    return same_training(arms["matched_count"], spent)


def _finding(shown: pd.Series | None, baseline: pd.Series) -> str:
    if shown is None:
        return "No partition with fewer SAEs than layers was evaluated"
    between = interval_text(shown["excess_fvu_low"], shown["excess_fvu_high"])
    text = (
        f"{saes(shown['count'])} instead of {baseline['count']}: mean FVU"
        f" {percent(shown['excess_fvu'], True)} ({between}: {shown['verdict']}), worst layer"
        f" {percent(shown['excess_fvu_worst'], True)} ({shown['verdict_worst']}), at"
        f" {percent(shown['cost_relative'])} of the cost"
    )
    # Another method, or a control, may be.
    none = "No shared arm of the main method is within the margins"
    return text if shown["within_margins"] else f"{none}; {text}"


def _panel(
    axis: Axes,
    arms: pd.DataFrame,
    column: str,
    shown: pd.Series | None,
    at_issue: pd.DataFrame,
    include: Sequence[float] = (),
) -> None:
    axis.grid(True, axis="y")
    axis.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    axis.set_xlabel("measured cost relative to per-layer training")
    drawn = arms[arms[column].notna() & (arms["role"] != "baseline")]
    if shown is not None:
        # Equal exposure costs as much as per-layer training at any K: one point says it.
        drawn = drawn[(drawn["role"] != EQUAL_EXPOSURE) | (drawn["count"] == shown["count"])]
    # Crosscoders of several numbers of clusters are joined by number, not by cost.
    keys = [_keys(drawn), drawn["count"].where(drawn["role"] == "rival", 0)]
    groups = [group for (key, _), group in drawn.groupby(keys, sort=False) if key != "main"]
    for i, group in enumerate(groups):
        # Rivals cost the same: side by side, a few points apart, they stay readable.
        aside = 2.0 * (i // 2 + 1) * (1 if i % 2 else -1)
        _curve(axis, group, column, aside)
    main = arms[arms["role"].isin(["main", "baseline"]) & arms[column].notna()]
    _curve(axis, main, column)
    axis.axhline(_value(arms, PER_LAYER, column), color=INK, linewidth=0.8, zorder=1)
    _limits(axis, pd.concat([drawn, main]), main, column, at_issue, include)
    _count_axis(axis, main, column, shown)


def _keys(arms: pd.DataFrame) -> pd.Series:
    """What each arm is drawn as: "main", "equal-exposure" or its method or variant."""
    kinds = arms.apply(kind_of, axis=1)
    return kinds.where(~arms["role"].isin(["main", EQUAL_EXPOSURE]), arms["role"])


def _curve(axis: Axes, rows: pd.DataFrame, column: str, aside: float = 0.0) -> None:
    """Points with intervals, joined in order of cost, `aside` points to the right."""
    rows = rows.sort_values(["cost_relative", "count"])
    main = rows["role"].isin(["main", "baseline"]).all()
    first = rows[~rows["method"].isin([SINGLE, PER_LAYER])] if main else rows
    kind = kind_of((first if len(first) else rows).iloc[0])
    exposure = (rows["role"] == EQUAL_EXPOSURE).all()
    axis.errorbar(
        rows["cost_relative"],
        rows[column],
        yerr=bars(rows, column),
        color=METHOD_COLOURS[kind],
        marker=MARKERS[kind],
        markersize=5.5 if main else 4.5,
        markerfacecolor="white" if exposure else METHOD_COLOURS[kind],
        linewidth=1.8 if main else 0.8,
        linestyle="-" if main else (0, (2, 2)),
        elinewidth=1.3 if main else 0.8,
        zorder=4 if main else 3,
        transform=offset_copy(axis.transData, cast(Figure, axis.figure), x=aside, units="points"),
    )
    base = rows[rows["arm"] == PER_LAYER]
    axis.plot(base["cost_relative"], base[column], "o", color=INK, markersize=6.5, zorder=5)


def _limits(
    axis: Axes,
    drawn: pd.DataFrame,
    main: pd.DataFrame,
    column: str,
    at_issue: pd.DataFrame,
    include: Sequence[float],
) -> None:
    """Show everything, and the values of `include`, unless a few hopeless K would flatten it.

    Then the axis ends above what is at issue, the shown arms and what spends as much, and arrows
    say how far beyond it the points of the main curve lie.
    """
    left, right = drawn["cost_relative"].min(), drawn["cost_relative"].max()
    margin = max(0.07 * (right - left), 0.02)
    axis.set_xlim(left - margin, right + margin)
    ends = drawn[[column, f"{column}_low", f"{column}_high"]]
    low, high = float(ends.min(axis=None)), float(ends.max(axis=None))
    if len(at_issue):
        enough = low + 1.6 * (float(at_issue[list(ends)].max(axis=None)) - low)
        high = enough if high - low > 2.2 * (enough - low) else high
    low, high = min([low, *include]), max([high, *include])
    border = max(0.08 * (high - low), 1e-3)
    top = high + border
    axis.set_ylim(low - border, top)
    last = -np.inf
    for _, row in main[main[column] > top].sort_values("cost_relative").iterrows():
        if row["cost_relative"] - last < 0.032 * (right - left + 2 * margin):
            continue
        last = row["cost_relative"]
        value = percent(row[column], True) if "excess" in column else f"{row[column]:.2f}"
        axis.annotate(
            f"{value} ↑",
            *((row["cost_relative"], 1), (0, -4)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            size=8,
            color=GREY,
            zorder=8,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _count_axis(axis: Axes, rows: pd.DataFrame, column: str, shown: pd.Series | None) -> None:
    """Name the K of the main curve's points above the panel; the shown one ringed and bold."""
    costs = rows.drop_duplicates("count").set_index("count")["cost_relative"].sort_index()
    left, right = axis.get_xlim()
    gap = 0.055 * (right - left)
    kept = [] if shown is None else [int(shown["count"])]
    for count in [costs.index[-1], costs.index[0], *costs.index]:
        if all(count != other and abs(costs[count] - costs[other]) >= gap for other in kept):
            kept.append(int(count))
    above = axis.secondary_xaxis("top")
    above.set_xticks([costs[count] for count in kept], [f"{count}" for count in kept])
    above.tick_params(length=2.5, pad=1.5, labelsize=8, labelcolor=GREY)
    above.spines["top"].set_visible(False)
    axis.annotate(
        "K",
        *((0, 1), (-4, 4)),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        size=8,
        color=GREY,
    )
    if shown is None:
        return
    label = above.get_xticklabels()[0]
    label.set(color=HIGHLIGHT, weight="bold", size=9.5)
    point = (shown["cost_relative"], shown[column])
    axis.axvline(point[0], color=HIGHLIGHT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axis.plot(*point, "o", ms=12, mfc="none", mec=HIGHLIGHT, mew=1.8, zorder=6)


def _value(arms: pd.DataFrame, arm: str, column: str) -> float:
    return float(arms.set_index("arm").loc[arm, column])


def _legend(figure: Figure, arms: pd.DataFrame) -> None:
    handles = []
    keys = _keys(arms)
    for key in dict.fromkeys(keys):
        rows = arms[keys == key]
        methods = [name for name in rows["method"].unique() if name != SINGLE]
        kind = key if key in METHOD_COLOURS else methods[0] if methods else SINGLE
        exposure = key == EQUAL_EXPOSURE
        alone = key == PER_LAYER or exposure
        suffix = {EQUAL_EXPOSURE: ", equal exposure", SPECIALISED: ", best start"}.get(key, "")
        handles.append(
            Line2D(
                *([], []),
                color=METHOD_COLOURS[kind],
                marker=MARKERS[kind],
                markersize=5.5,
                markerfacecolor="white" if exposure else METHOD_COLOURS[kind],
                linestyle="" if alone else "-" if key == "main" else (0, (2, 2)),
                linewidth=1.5 if key == "main" else 0.8,
                label=METHOD_NAMES[kind] + suffix,
            )
        )
    columns = len(handles) if len(handles) * 1.75 < figure.get_figwidth() else 4
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.5)
