"""Whether training had finished: FVU and dead latents of every SAE against activations seen."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    FormatStrFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.clusters import FROM, layers_of
from clustersae.presentation.saes import ancestors, rows_of, saes_of_arm
from clustersae.presentation.shown import shared, specialised
from clustersae.presentation.specialised import budget, start_of
from clustersae.presentation.style import canvas, conditions, styled
from clustersae.presentation.words import percent, share
from clustersae.quality.figure_layer_fvu import short_name
from clustersae.runtime.words import counted

#: Cut short of its yellow end, which is hard to see on white.
_DEPTH = mpl.colors.LinearSegmentedColormap.from_list(
    "depth", mpl.colormaps["viridis"](np.linspace(0, 0.88, 64))
)


def draw(training: pd.DataFrame, quality: pd.DataFrame, arms: pd.DataFrame, model: str) -> Figure:
    """Curves of the per-layer SAEs beside those of the chosen arms, coloured by depth.

    Chosen are a partition and, where there are any, the specialised arm that the verdict names,
    with the shared SAEs that it started from dashed.

    A line is the mean over seeds, its band their range.

    Args:
        training: `tables/training.csv`.
        quality: `tables/layer_quality.csv`, for the clusters of the arms.
        arms: `tables/arms.csv`.
        model: name for the subtitle.
    """
    shown = shared(arms)
    n_layers, n_seeds = int(arms["n_layers"].max()), int(arms["n_seeds"].min())
    columns = {"One SAE per layer": PER_LAYER}
    if shown is not None:
        columns[f"{counted(shown['count'], 'shared SAE')} ({shown['arm']})"] = shown["arm"]
    special = specialised(arms)
    if special is not None:
        start, spent = start_of(special["partition"]), share(budget(special))
        columns[f"Specialised {start}, {spent} of training"] = special["arm"]
    curves = {name: _curves(training, quality, arm) for name, arm in columns.items()}
    # Specialised SAEs begin well trained and are judged by what they reach, not by their fall.
    settled = [frame for name, frame in curves.items() if not name.startswith("Specialised")]
    band = "bands: range over seeds" if n_seeds > 1 else "one seed"
    with styled():
        figure = canvas(
            (4.6 if len(columns) < 3 else 4.0) * len(columns) + 1.0,
            5.0,
            _finding(settled, list(curves.values())),
            conditions(
                *(model, n_layers, n_seeds, "training batches", band),
                *(
                    ["dashed: shared SAEs that specialised ones started from"]
                    * (special is not None)
                ),
            ),
        )
        axes = figure.subplots(
            2, len(columns), sharex=True, sharey="row", height_ratios=(2, 1), squeeze=False
        )
        norm = Normalize(quality["layer"].min(), max(quality["layer"].max(), 1))
        fvu = np.log(np.concatenate([frame["fvu"]["mean"] for frame in curves.values()]))
        height = max(float(np.ptp(fvu)), 1e-9)
        for (upper, lower), (title, frame) in zip(axes.T, curves.items()):
            upper.set_title(title)
            _panel(upper, frame, "fvu", norm)
            _panel(lower, frame, "dead_fraction", norm)
            _label_ends(upper, frame, norm, height, sorted(quality["layer"].unique()))
            lower.set_xlabel("activations seen")
        _axes(axes, training)
        bar = figure.colorbar(
            ScalarMappable(norm, _DEPTH), ax=axes, shrink=0.5, aspect=25, pad=0.02
        )
        bar.set_label("layer (mean of the cluster)")
        bar.ax.invert_yaxis()
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(8, integer=True)
        bar.update_ticks()
    return figure


def _curves(training: pd.DataFrame, quality: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Histories of an arm's SAEs: mean and range over seeds by cluster and activations.

    SAEs that others started from are there as well; `serves` is false of them.
    """
    saes = saes_of_arm(quality, arm)
    early = ancestors(saes)
    rows = rows_of(training, [*saes, *early])
    groups = rows.groupby(["cluster", "activations"])[["fvu", "dead_fraction"]]
    frame = groups.agg(["mean", "min", "max"]).sort_index()
    depths = {name: float(np.mean(layers_of(name))) for _, name in [*saes, *early]}
    order = sorted(depths, key=lambda name: depths[name])
    names = frame.index.get_level_values(0)
    serves = names.isin([name for _, name in saes])
    return frame.assign(depth=names.map(depths), serves=serves).reindex(order, level="cluster")


def _late_gains(curves: pd.DataFrame) -> pd.Series:
    """Relative fall of FVU over the last tenth of training, by cluster.

    Single batches are noisy, so the medians around 90 % and at the end of training are compared;
    where no point was kept near 90 %, it is interpolated.
    """
    gains = {}
    for cluster, frame in curves.groupby(level="cluster"):
        fvu = frame["fvu"]["mean"].droplevel("cluster")
        end = fvu.index.max()
        last = fvu[fvu.index > 0.95 * end].median()
        window = fvu[(fvu.index > 0.85 * end) & (fvu.index <= 0.95 * end)]
        before = window.median() if len(window) else np.interp(0.9 * end, fvu.index, fvu)
        gains[cluster] = 1 - last / before
    return pd.Series(gains, dtype=float).dropna()


def _finding(judged: list[pd.DataFrame], panels: list[pd.DataFrame]) -> str:
    """What the last judged panel says of convergence, and the most dead latents of any panel."""
    gains = _late_gains(judged[-1])
    last = [each["dead_fraction"]["mean"].groupby(level="cluster").last().max() for each in panels]
    dead = f"at most {percent(max(last))} of latents dead at the end"
    if gains.empty:
        return f"FVU against activations seen; {dead}"
    if gains.max() < 0.01:
        return f"Training had settled: FVU fell by less than 1 % over the last tenth; {dead}"
    return (
        f"Training had not quite settled: FVU of SAE {gains.idxmax()} still fell by"
        f" {percent(gains.max())} over the last tenth; {dead}"
    )


def _panel(axis: Axes, curves: pd.DataFrame, column: str, norm: Normalize) -> None:
    for _, frame in curves.groupby(level="cluster", sort=False):
        x = frame.index.get_level_values("activations")
        colour = _DEPTH(norm(frame["depth"].iloc[0]))
        values, serves = frame[column], frame["serves"].all()
        style = {"linewidth": 1.4} if serves else {"linewidth": 0.9, "linestyle": (0, (4, 2))}
        axis.plot(x, values["mean"], color=colour, **style)
        axis.fill_between(x, values["min"], values["max"], color=colour, alpha=0.18, linewidth=0)
    axis.grid(True, axis="y")


def _label_ends(
    axis: Axes, curves: pd.DataFrame, norm: Normalize, height: float, studied: Sequence[int]
) -> None:
    """Name the SAEs at the end of their lines, where there are few enough to be kept apart.

    Args:
        height: of the axis, in natural logarithms of FVU.
        studied: layers, by which clusters are named.
    """
    curves = curves[curves["serves"]]
    last = curves.groupby(level="cluster", sort=False).last()
    if len(last) > 8:
        return
    ends = np.log(last["fvu"]["mean"].to_numpy())
    x = curves.index.get_level_values("activations").max()
    # On the log axis: labels stand at least 5 % of its height apart.
    places = spread(ends, 0.05 * height)
    for cluster, place, depth in zip(last.index, places, last["depth"]):
        axis.annotate(
            short_name(cluster.partition(FROM)[0], studied),
            *((x, np.exp(place)), (4, 0)),
            textcoords="offset points",
            va="center",
            size=8,
            color=_DEPTH(norm(depth)),
            annotation_clip=False,
        )


def spread(values: np.ndarray, gap: float) -> np.ndarray:
    """Places at least `gap` apart, in the order of `values` and about where they are."""
    order = np.argsort(values, kind="stable")
    places = np.asarray(values, dtype=float)[order]
    for _ in range(100):
        overlap = gap - np.diff(places)
        if (overlap <= 1e-9 * gap).all():
            break
        for i in np.flatnonzero(overlap > 0):
            push = max(gap - (places[i + 1] - places[i]), 0) / 2
            places[i] -= push
            places[i + 1] += push
    result = np.empty_like(places)
    result[order] = places
    return result


def _axes(axes: np.ndarray, training: pd.DataFrame) -> None:
    for axis in axes.ravel():
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    low, high = axes[0, 0].get_ylim()
    subs = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 7)
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=subs))
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("FVU (share of variance lost)")
    axes[1, 0].set_ylabel("dead latents")
    axes[1, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes[1, 0].set_ylim(bottom=0)
    axes[0, 0].set_xlim(left=max(training["activations"][training["activations"] > 0].min(), 1))
