"""How the language model learned: training and validation loss of every seed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from clustersae.presentation.style import FAINT, GREY, HIGHLIGHT, INK, canvas, styled
from clustersae.runtime.words import counted

_TRAIN = "#0072B2"


def draw(curves: pd.DataFrame, model: str, published_loss: float | None = None) -> Figure:
    """Losses against steps, a line per seed, and where each seed was at its best.

    Args:
        curves: `tables/learning_curves.csv`: seed, kind (batch, train, validation), step, loss.
        model: name for the subtitle.
        published_loss: best validation loss of the published run, in nat per character.
    """
    best = _best(curves)
    n_seeds = len(best)
    with styled():
        figure = canvas(
            7.5,
            4.0,
            _finding(curves, best),
            " · ".join(
                [
                    model,
                    f"{counted(n_seeds, 'seed')}, a line each",
                    "loss in nat per token",
                    "batch losses are those of steps, with dropout; evaluations are without",
                ]
            ),
        )
        axis = figure.subplots()
        _lines(axis, curves, "batch", f"one training batch{_often(curves)}", FAINT, 0.7)
        _lines(axis, curves, "train", "training text", _TRAIN, 1.3)
        _lines(axis, curves, "validation", "validation text", INK, 1.3, marker=".", markersize=4)
        axis.plot(
            *(best["step"], best["loss"], "o"),
            color=HIGHLIGHT,
            markersize=6,
            label="best, and kept",
        )
        if published_loss is not None:
            axis.axhline(
                published_loss,
                color=GREY,
                linewidth=1,
                linestyle=(0, (4, 2)),
                label=f"best of the published run, {published_loss:.4f}",
            )
        axis.set(xlabel="steps", ylabel="loss", xlim=(0, curves["step"].max() * 1.02))
        axis.set_ylim(*_limits(curves, published_loss))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(True, axis="y")
        axis.legend(loc="upper right")
    return figure


def _best(curves: pd.DataFrame) -> pd.DataFrame:
    """The row of least validation loss of every seed, the first of equals."""
    validation = curves[curves["kind"] == "validation"].reset_index(drop=True)
    return validation.loc[validation.groupby("seed")["loss"].idxmin()]


def _finding(curves: pd.DataFrame, best: pd.DataFrame) -> str:
    last = curves[curves["step"] == curves["step"].max()]
    end = last[last["kind"] == "validation"]["loss"].mean()
    mean = best["loss"].mean()
    where = sorted(best["step"].unique())
    steps = f"{where[0]:,}" if len(where) == 1 else f"{where[0]:,} to {where[-1]:,}"
    finding = f"Best validation loss {mean:.4f} at step {steps}"
    if end > mean * 1.01:
        return f"{finding}; then it rose to {end:.4f}, and the best model is kept"
    return finding


def _often(curves: pd.DataFrame) -> str:
    steps = np.unique(curves[curves["kind"] == "batch"]["step"])
    return f", every {steps[1] - steps[0]}th" if len(steps) > 2 else ""


def _limits(curves: pd.DataFrame, published_loss: float | None) -> tuple[float, float]:
    """All evaluations, and batches but for the steep start."""
    losses = curves["loss"].to_numpy()
    low = min([losses.min(), *([] if published_loss is None else [published_loss])])
    early = np.quantile(losses, 0.98)
    high = max(early, curves[curves["kind"] != "batch"]["loss"].max())
    margin = 0.05 * max(high - low, 1e-6)
    return low - margin, high + margin


def _lines(
    axis: Axes, curves: pd.DataFrame, kind: str, label: str, colour: str, width: float, **style
) -> None:
    for _, rows in curves[curves["kind"] == kind].groupby("seed"):
        axis.plot(rows["step"], rows["loss"], color=colour, linewidth=width, label=label, **style)
        label = "_"  # once in the legend
