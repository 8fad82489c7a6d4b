"""The panel of gaps: specialised SAEs over per-layer SAEs of every length of training."""

from typing import cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from clustersae.presentation.judging import same_training
from clustersae.presentation.specialised import against_lengths
from clustersae.presentation.style import FAINT, GREY, INK, Look, bars, log_scale, percent_axis
from clustersae.presentation.words import share


def gaps(
    axis: Axes, comparisons: pd.DataFrame, arms: pd.DataFrame, looks: dict[str, Look], margin: float
) -> None:
    """Mean FVU over that of per-layer SAEs of every length: at equal training, and at less.

    Args:
        margin: largest excess that does not matter, a band.
    """
    rows = against_lengths(comparisons).merge(arms[["arm", "partition"]], on="arm")
    ratio = _usual_ratio(rows)
    equal = same_training(rows["matched_count"], rows["against_matched_count"])
    families = {"as long": rows[equal]}
    if ratio is not None:
        families[share(ratio)] = rows[(rows["ratio"] / ratio - 1).abs() < 0.03]
    n_drawn = sum(len(each) for each in families.values())
    for open_, family in enumerate(families.values()):
        for i, (partition, look) in enumerate(looks.items()):
            own = family[family["partition"] == partition].sort_values("length")
            aside = 3.5 * (i - (len(looks) - 1) / 2) if n_drawn > 2 else 0
            _gap_curve(axis, own, look, bool(open_), aside)
    axis.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axis.axhspan(-margin, margin, color=FAINT, alpha=0.5, lw=0, zorder=0)
    axis.grid(True, axis="y")
    axis.set_title("Against per-layer SAEs")
    axis.set_xlabel("training of the per-layer SAEs (share of full training)")
    axis.set_ylabel("excess mean FVU of specialised SAEs")
    drawn = pd.concat(families.values())
    if drawn.empty:
        return
    spare = max((drawn["length"].max() / drawn["length"].min()) ** 0.1, 1.2)
    axis.set_xlim(drawn["length"].min() / spare, drawn["length"].max() * spare)
    log_scale(axis, "x", 6, share)
    ends = drawn[["excess_fvu", "excess_fvu_low", "excess_fvu_high"]]
    low, high = min(ends.min(axis=None), 0), max(ends.max(axis=None), 0)
    # Above the points there is room for the legend.
    axis.set_ylim(low - 0.08 * (high - low), high + 0.28 * (high - low))
    percent_axis(axis)
    names = ["specialised at equal training", f"specialised at {share(ratio or 0)} of the training"]
    axis.legend(
        handles=[
            Line2D([], [], color=GREY, lw=1.5, marker="o", ls="-", ms=5, label=names[0]),
            Line2D(
                [], [], color=GREY, lw=1.2, marker="o", ls="--", ms=5, mfc="white", label=names[1]
            ),
        ][: len(families)],
        fontsize=8,
        loc="upper left",
    )


def _usual_ratio(rows: pd.DataFrame) -> float | None:
    """The ratio below 1 of own to the rival's training that most lengths have; 0.4 of equals."""
    ratios = rows.loc[rows["ratio"] < 0.95, ["ratio", "length"]].round(2).drop_duplicates()
    if ratios.empty:
        return None
    counts = ratios["ratio"].value_counts()
    most = counts[counts == counts.max()].index
    return float(min(most, key=lambda ratio: abs(ratio - 0.4)))


def _gap_curve(axis: Axes, rows: pd.DataFrame, look: Look, open_: bool, aside: float) -> None:
    if rows.empty:
        return
    axis.errorbar(
        *(rows["length"], rows["excess_fvu"], bars(rows, "excess_fvu")),
        **look.sized(5.5, star=8.5),
        markerfacecolor="white" if open_ else look.colour,
        linewidth=1.2 if open_ else 1.6,
        linestyle=(0, (4, 2)) if open_ else "-",
        elinewidth=1.0,
        transform=offset_copy(axis.transData, cast(Figure, axis.figure), x=aside, units="points"),
    )
