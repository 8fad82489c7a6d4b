"""Whether latents keep their identity while specialising: what they write, and when they fire."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clustersae.presentation.specialised import start_of
from clustersae.presentation.starts import looks_of
from clustersae.presentation.style import FAINT, GREY, INK, Look, bars, canvas, conditions, styled
from clustersae.presentation.words import share

#: From top to bottom: SAEs of one layer, then of two.
KINDS = {
    "ancestor": "before and after specialising",
    "specialised_seed": "specialised, two seeds, matched",
    "independent_seed": "independent, two seeds, matched",
    "shared": "siblings before specialising",
    "siblings": "siblings",
    "same_start": "from scratch, one seed, by index",
    "independent": "independent, matched",
    "shuffled": "siblings, paired at random",
}
_ONE_LAYER = 3

_PANELS = {
    "mean_cosine": ("Same direction, on average", "mean cosine of decoder rows"),
    "share_above_0.9": ("Same direction, how many", "latents above cosine 0.9"),
    "jaccard": ("Same tokens", "tokens in common (Jaccard index)"),
}

#: What siblings are held against, at every distance: dashes and colour.
_RIVALS = {
    "independent": ((0, (4, 2)), INK),
    "same_start": ((0, (1, 1.5)), INK),
    "shuffled": ("-", "#b0b0b0"),
}
#: Trained from scratch, one SAE per layer.
_SCRATCH = ["independent", "same_start"]


def draw(table: pd.DataFrame, model: str) -> Figure:
    """Means of every kind above, and how siblings drift apart with distance below.

    Of each start one arm is drawn, at the budget that most starts have.

    Args:
        table: `tables/correspondence.csv`.
        model: name for the subtitle.
    """
    with styled():
        if table.empty:
            return canvas(
                *(7.5, 0.1, "No specialised SAEs were asked for"),
                f"{model} · set arms.specialised to train some",
            )
        table = table[table["arm"].isin(table.loc[table["kind"] == "siblings", "arm"])]
        if table.empty:
            return canvas(7.5, 0.1, "No two specialised SAEs fire in the same latents", model)
        shown, spent = _of_one_budget(table)
        widest = _widest(shown)
        siblings = _over_all(shown[shown["arm"] == widest]).loc["siblings"]
        n_seeds = int(siblings["n_seeds"])
        figure = canvas(
            12.0,
            7.4,
            _finding(shown, widest),
            conditions(
                *(model, int(siblings["count"]), n_seeds),
                f"specialised SAEs have {share(spent)} of the training of those from scratch",
                f"{int(siblings['n_tokens']):,} test tokens",
                "bars: 95 % intervals over seeds",
            ),
        )
        upper, lower = figure.subplots(2, 3, sharey="row", height_ratios=(1.15, 1))
        looks = looks_of(shown["partition"])
        for axis, measure in zip(upper, _PANELS):
            _means(axis, shown, measure, looks)
        for axis, measure in zip(lower, _PANELS):
            _with_distance(axis, shown, measure, looks, widest)
        _name_kinds(upper[0], shown)
        lower[0].set_ylabel("mean over pairs of layers")
        handles = _handles(shown, looks)
        figure.legend(handles=handles, loc="outside lower center", ncols=(len(handles) + 1) // 2)
    return figure


def _of_one_budget(table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The rows of the arms at the budget that most starts have (the largest such), and that."""
    budgets = (table["matched_count"] / table["count"]).round(3)
    starts = table.groupby(budgets)["partition"].nunique()
    chosen = starts[starts == starts.max()].index.max()
    return table[budgets == chosen], float(chosen)


def _widest(shown: pd.DataFrame) -> str:
    """The arm with the most pairs of siblings: rivals are drawn on its pairs of layers."""
    rows = shown[(shown["kind"] == "siblings") & shown["distance"].isna()]
    return rows.loc[rows["n_pairs"].idxmax(), "arm"]


def _over_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows over all distances, by kind."""
    return rows[rows["distance"].isna()].set_index("kind")


def _finding(shown: pd.DataFrame, arm: str) -> str:
    means = _over_all(shown[shown["arm"] == arm])
    start = start_of(means.loc["siblings", "partition"])
    siblings = means.loc["siblings"]
    # Of one seed there are no independent SAEs.
    rivals = means.loc[[kind for kind in _SCRATCH if kind in means.index], list(_PANELS)]
    rival, best = rivals.max(), " at best" if len(rivals) > 1 else ""
    return (
        f"Across layers, {_whole(siblings['share_above_0.9'])} of the latents specialised {start}"
        f" still write the same direction (from scratch{best} {_whole(rival['share_above_0.9'])})"
        f"; two counterparts fire together on {_whole(siblings['jaccard'])} of the tokens on which"
        f" either does (from scratch{best} {_whole(rival['jaccard'])})"
    )


def _whole(value: float) -> str:
    """A share of tokens or latents, to the per cent; fractions of one are not said to be none."""
    return "under 1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def _means(axis: Axes, shown: pd.DataFrame, measure: str, looks: dict[str, Look]) -> None:
    title, label = _PANELS[measure]
    kinds = _kinds(shown)
    for i, (partition, look) in enumerate(looks.items()):
        rows = _over_all(shown[shown["partition"] == partition])
        rows = rows.loc[[kind for kind in kinds if kind in rows.index]]
        aside = 0.2 * (i - (len(looks) - 1) / 2)
        places = np.array([kinds.index(kind) for kind in rows.index]) + aside
        axis.errorbar(
            *(rows[measure], places),
            xerr=bars(rows, measure),
            **look.sized(5, star=8),
            ls="none",
            elinewidth=1.2,
        )
    for place in range(len(kinds)):
        axis.axhline(place, color=FAINT, linewidth=0.6, zorder=0)
    axis.set_title(title)
    axis.set_xlabel(label)
    axis.set_xlim(min(-0.04, _lowest(shown, measure)), 1.04)
    axis.grid(True, axis="x")
    if measure == "share_above_0.9":
        axis.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))


def _kinds(shown: pd.DataFrame) -> list[str]:
    return [kind for kind in KINDS if (shown["kind"] == kind).any()]


def _lowest(shown: pd.DataFrame, measure: str) -> float:
    return float(shown[[measure, f"{measure}_low"]].min(axis=None)) - 0.04


def _name_kinds(axis: Axes, shown: pd.DataFrame) -> None:
    """Label the rows of the upper panels, and part those of one layer from those of two."""
    kinds = _kinds(shown)
    axis.set_yticks(range(len(kinds)), [KINDS[kind] for kind in kinds])
    axis.set_ylim(len(kinds) - 0.5, -0.5)
    n_alone = sum(kind in list(KINDS)[:_ONE_LAYER] for kind in kinds)
    groups = {"one layer": (n_alone - 1) / 2, "two layers": (n_alone + len(kinds) - 1) / 2}
    for text, place in groups.items():
        axis.annotate(
            text,
            *((0, place), (-188, 0)),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="center",
            size=9,
            weight="bold",
            color=GREY,
        )
    for each in axis.figure.axes[:3]:
        each.axhline(n_alone - 0.5, color=GREY, linewidth=0.9, zorder=1)


def _with_distance(
    axis: Axes, shown: pd.DataFrame, measure: str, looks: dict[str, Look], widest: str
) -> None:
    apart = shown[shown["distance"].notna()].sort_values("distance")
    for kind, (dashes, colour) in _RIVALS.items():
        rows = apart[(apart["arm"] == widest) & (apart["kind"] == kind)]
        axis.plot(
            *(rows["distance"], rows[measure]), color=colour, ls=dashes, lw=1.3, marker=".", ms=4
        )
    for i, (partition, look) in enumerate(looks.items()):
        rows = apart[(apart["partition"] == partition) & (apart["kind"] == "siblings")]
        aside = 0.008 * apart["distance"].max() * (i - (len(looks) - 1) / 2)
        axis.errorbar(
            *(rows["distance"] + aside, rows[measure]),
            yerr=bars(rows, measure),
            **look.sized(5, star=8),
            linewidth=1.6,
            elinewidth=1.0,
            zorder=4,
        )
    axis.set_xlabel("layers apart")
    axis.set_title(_PANELS[measure][1], weight="normal", size=9)
    axis.set_xlim(0.6, apart["distance"].max() + 0.4)
    axis.set_ylim(min(-0.04, *(_lowest(apart, each) for each in _PANELS)), 1.04)
    axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axis.grid(True, axis="y")


def _handles(shown: pd.DataFrame, looks: dict[str, Look]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, label=look.label)
        for look in looks.values()
    ]
    names = {kind: KINDS[kind] for kind in _RIVALS if (shown["kind"] == kind).any()}
    handles += [
        Line2D([], [], color=_RIVALS[kind][1], ls=_RIVALS[kind][0], marker=".", label=name)
        for kind, name in names.items()
    ]
    return handles
