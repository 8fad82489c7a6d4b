"""What all figures share: colours by meaning, the headline, and files that do not change by rerun.

Figures are built without pyplot, so that nothing depends on a display or on global state.
"""

import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from clustersae.experiment import variants
from clustersae.experiment.arms import PER_LAYER
from clustersae.runtime.files import replacing
from clustersae.runtime.words import counted

INK, GREY, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
HIGHLIGHT = "#D55E00"
#: After Okabe and Ito and Tol: told apart with every common colour blindness. One colour per
#: meaning in all figures; markers differ too.
METHOD_COLOURS = {
    PER_LAYER: INK,
    "complete": "#0072B2",
    "single": "#0072B2",
    "average": "#56B4E9",
    "contiguous": "#009E73",
    "kmeans": "#8C6D00",
    "even": "#E69F00",
    "random": "#999999",
    "tokens": "#882255",
    "narrower": "#CC79A7",
    "specialised": "#117733",
    "transfer-forwards": "#661100",
    "transfer-backwards": "#332288",
    "mlsae": "#999933",
    "crosscoder": "#AA4499",
}
METHOD_NAMES = {
    PER_LAYER: "per-layer",
    "complete": "complete linkage",
    "average": "average linkage",
    "contiguous": "contiguous optimum",
    "kmeans": "k-means",
    "even": "evenly spaced",
    "random": "random contiguous",
    "single": "one SAE for all",
    "tokens": "per-layer, fewer tokens",
    "narrower": "per-layer, narrower",
    "specialised": "specialised",
    "transfer-forwards": "transferred forwards",
    "transfer-backwards": "transferred backwards",
    "mlsae": "one SAE, every token at every layer",
    "crosscoder": "crosscoder, one code per cluster",
}
MARKERS = {
    "complete": "o",
    "single": "o",
    "average": "s",
    "contiguous": "^",
    "kmeans": "v",
    "even": "D",
    "random": "X",
    "tokens": "P",
    "narrower": "p",
    "specialised": "*",
    "transfer-forwards": ">",
    "transfer-backwards": "<",
    "mlsae": "h",
    "crosscoder": "d",
    PER_LAYER: "o",
}


class Look(NamedTuple):
    """How one of several series is drawn and what the legend calls it."""

    colour: str
    marker: str
    label: str

    def sized(self, points: float, star: float) -> dict[str, Any]:
        """Its markers; a star is drawn larger than others, or it would look smaller."""
        size = star if self.marker == "*" else points
        return {"color": self.colour, "marker": self.marker, "markersize": size}


_TITLE_POINTS, _SUBTITLE_POINTS = 12.5, 9.0
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    # Letters as shapes look the same everywhere; a fixed salt gives the same ids on every run.
    "svg.fonttype": "path",
    "svg.hashsalt": "clustersae",
    # Whole outlines (TrueType), which journals ask for, and no bitmaps (Type 3).
    "pdf.fonttype": 42,
}


def styled() -> AbstractContextManager[None]:
    """The settings under which a figure is both built and saved."""
    return mpl.rc_context(_RC)


def canvas(width: float, height: float, title: str, subtitle: str) -> Figure:
    """A figure whose axes, `height` inches tall, stand below a finding and its conditions."""
    title_lines = _wrap(title, width, _TITLE_POINTS * 0.61)
    subtitle_lines = _wrap(subtitle, width, _SUBTITLE_POINTS * 0.53)
    title_inches = len(title_lines) * _TITLE_POINTS * 1.3 / 72
    header = 0.12 + title_inches + len(subtitle_lines) * _SUBTITLE_POINTS * 1.35 / 72 + 0.1
    total = height + header
    layout = ConstrainedLayoutEngine(
        rect=(0.006, 0.008, 0.988, height / total - 0.008), w_pad=0.06, h_pad=0.06
    )
    figure = Figure(figsize=(width, total), layout=layout)
    figure.set_label(title)
    left = 0.12 / width
    top = 1 - 0.1 / total
    figure.text(
        *(left, top, "\n".join(title_lines)),
        size=_TITLE_POINTS,
        weight="bold",
        color=INK,
        va="top",
        linespacing=1.2,
    )
    figure.text(
        *(left, top - (title_inches + 0.05) / total, "\n".join(subtitle_lines)),
        size=_SUBTITLE_POINTS,
        color=GREY,
        va="top",
        linespacing=1.25,
    )
    return figure


def _wrap(text: str, width: float, character_points: float) -> list[str]:
    """Lines that fit `width` inches, as even in length as can be."""
    columns = int((width - 0.24) * 72 / character_points)
    # A number keeps its per cent sign, and no line begins with a separator.
    protected = text.replace(" %", "\u00a0%").replace(" · ", "\u00a0· ")
    lines = textwrap.wrap(protected, columns, break_on_hyphens=False)
    while columns > 1 and len(lines) > 1:
        columns -= 1
        tighter = textwrap.wrap(protected, columns, break_on_hyphens=False)
        if len(tighter) > len(lines):
            break
        lines = tighter
    return lines


def save(
    figure: Figure,
    svg: str | Path | None,
    png: str | Path,
    pdf: str | Path | None = None,
    dpi: int = 160,
) -> None:
    """Write the files that are asked for; the same figure gives the same bytes.

    Letters are shapes, so what a figure of `canvas` shows stands in the SVG's title as well.
    """
    _settle(figure)
    if svg:
        with replacing(svg) as temporary:
            metadata = {"Date": None, "Title": str(figure.get_label())}
            figure.savefig(temporary, format="svg", metadata=metadata)
    with replacing(png) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})
    if pdf:
        with replacing(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})


def _settle(figure: Figure) -> None:
    """Fix the layout: the last bits of what the solver finds differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(Bbox(axis.get_position().get_points().round(9)))


def kind_of(arm: pd.Series) -> str:
    """The key of an arm's colour, marker and name: its method or its equal-compute variant."""
    if arm["role"] == "equal-compute":
        return variants.kind_of(arm["variant"])
    return str(arm["method"])


def name_of(arm: pd.Series, n_layers: int) -> str:
    """What an arm's kind is called; the length of per-layer training may be below or above full."""
    longer = arm["matched_count"] > n_layers
    kind = kind_of(arm)
    return "per-layer, more tokens" if kind == "tokens" and longer else METHOD_NAMES[kind]


def conditions(model: str, n_layers: int, n_seeds: int, *more: str) -> str:
    """The grey line below the finding: what was measured, on how much."""
    return " · ".join([model, f"{counted(n_layers, 'layer')} × {counted(n_seeds, 'seed')}", *more])


def intervals_note(n_seeds: int) -> str:
    """What bars of tables with intervals mean, or that there are none."""
    return "bars: 95 % intervals over seeds" if n_seeds > 1 else "one seed: no intervals"


def bars(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths of error bars [2, n_rows] below and above a column with `_low` and `_high`.

    Nothing where there is no interval; rounding makes none negative.
    """
    ends = rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]
    return np.nan_to_num(np.stack(ends).astype(float)).clip(min=0)


def seeds_note(n_seeds: int) -> str:
    """What bars over seeds mean, or that there are none."""
    return "bars: range over seeds" if n_seeds > 1 else "one seed: no bars"


def thinned(values: Sequence[int], most: int, keep: Sequence[int] = ()) -> list[int]:
    """At most about `most` of the sorted `values`: both ends, `keep`, and others evenly."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    picked = {ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)}
    return sorted(picked | (set(keep) & set(ordered)))


def percent_axis(axis: Axes) -> None:
    """Label the ticks of relative differences on the y axis as per cent, with a sign."""

    def label(value: float, _: int) -> str:
        size = f"{abs(100 * value):,.0f}" if abs(value) >= 10 else f"{abs(100 * value):.3g}"
        return ("" if size == "0" else "−" if value < 0 else "+") + size + " %"

    axis.yaxis.set_major_formatter(FuncFormatter(label))


_MANTISSAS = (
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 4, 6),
    (1, 2, 5),
    (1, 3),
    (1,),
)


def log_scale(axis: Axes, which: str, most: int, label: Callable[[float], str]) -> None:
    """A logarithmic axis, over the limits that it has, with at most `most` round ticks.

    Ranges too narrow for two round numbers get evenly spaced ones.
    """
    target = axis.xaxis if which == "x" else axis.yaxis
    low, high = sorted(target.get_view_interval())
    axis.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for mantissas in _MANTISSAS:
        ticks = np.outer(powers, mantissas).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= most:
            break
    if len(ticks) < 2:
        ticks = np.array(MaxNLocator(most - 1, steps=[1, 2, 5, 10]).tick_values(low, high))
        ticks = ticks[(ticks >= low) & (ticks <= high)]
    target.set_minor_locator(NullLocator())
    target.set_ticks(ticks, [label(tick) for tick in ticks])


def layer_ticks(
    axis: Axes,
    layers: Sequence[int],
    which: str = "x",
    centre: float = 0.0,
    labels: Sequence[int] | None = None,
) -> None:
    """A tick at every layer (plus `centre`), or at fewer where they would touch.

    Args:
        labels: what the layers are called, where they are drawn at their places.
    """
    step = 1 if len(layers) <= 16 else 2 if len(layers) <= 32 else 4
    target = axis.xaxis if which == "x" else axis.yaxis
    names = [str(layer) for layer in labels or layers][::step]
    target.set_ticks([layer + centre for layer in list(layers)[::step]], names)
