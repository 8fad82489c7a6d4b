"""The arms beside one another in a few lines: the best first, the others in order of cost."""

from typing import NamedTuple

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, TRANSFERS
from clustersae.presentation.arms import best, cheaper_controls, dominating, full_label, label
from clustersae.presentation.findings import Findings
from clustersae.presentation.judging import same_training
from clustersae.presentation.specialised import budget
from clustersae.presentation.words import WIDTH, bounds, fitted, percent, share
from clustersae.statistics.equivalence import together

#: Of the columns before the last.
_WIDTHS = (26, 5, 9, 6, 27, 12)


class Ranking(NamedTuple):
    """Some arms beside one another.

    Attributes:
        head: what stands above the columns.
        rows: the cells of every arm, as text, the best arm first. Texts count arms from 1.
        left_out: a line each on the dominated and the other arms that have no row.
    """

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left_out: list[str]

    def lines(self) -> list[str]:
        """Arms numbered, columns aligned by spaces, and what is left out below."""
        marks = [" ", *range(1, len(self.rows) + 1)]
        numbered = [
            (f"{mark} {cells[0]}", *cells[1:])
            for mark, cells in zip(marks, [self.head, *self.rows])
        ]
        return [*map(_aligned, numbered), *self.left_out]


def headline(found: Findings) -> str:
    """One sentence: the best arm, what it costs, what it loses and what that shows."""
    arms, margins = found.tables["arms"], found.margins
    arm = best(arms)
    if arm["arm"] == PER_LAYER:
        but = " but controls" if cheaper_controls(arms) else ""
        return (
            f"Best: one SAE per layer, trained in full; no cheaper arm{but} stays within"
            f" {share(margins['mean'])} more mean FVU and {share(margins['worst'])} in the worst"
            " layer."
        )
    interval = bounds(arm["excess_fvu_low"], arm["excess_fvu_high"])
    return (
        f"Best: {_who(arm, found)}: {share(budget(arm))} of the training and"
        f" {percent(arm['cost_relative'])} of the cost of full per-layer SAEs. Mean FVU"
        f" {percent(arm['excess_fvu'], True)}{interval and f' {interval}'}: {arm['verdict']};"
        f" worst layer {percent(arm['excess_fvu_worst'], True)}: {arm['verdict_worst']}."
    )


def _who(arm: pd.Series, found: Findings) -> str:
    """An arm's label, in full where it is met for the first time, with its clusters if short."""
    if arm["role"] == "specialised":
        start = label(arm).removeprefix("fine-tuned").replace("SAE", "shared SAE")
        return f"SAEs fine-tuned (specialised){start}"
    if arm["partition"] == PER_LAYER:
        return f"{label(arm)} SAEs"
    if arm["role"] == "rival":
        return f"SAEs {label(arm)}" if arm["partition"] in TRANSFERS.values() else label(arm)
    known = found.partitions.get(arm["partition"], {"clusters": []})["clusters"]
    clusters = f" (layers {', '.join(known)})"
    return label(arm) + (clusters if len(known) > 1 and len(clusters) < 40 else "")


def ranking(found: Findings, n_rows: int) -> Ranking:
    """Up to `n_rows` arms.

    Shown are the best arm, the full per-layer SAEs, the per-layer SAEs trained as long as the best
    arm, the other published ways to save training at as much of it, and then those that no other
    arm dominates, as near in cost to the best as can be.
    """
    arms = found.tables["arms"].sort_values(["matched_count", "excess_fvu"], kind="stable")
    first = best(arms)
    rows = arms.loc[_shown(arms, first, n_rows)]
    numbers = {name: number for number, name in enumerate(rows["arm"], 1)}
    margins = "/".join(f"{100 * found.margins[each]:g}" for each in ("mean", "worst"))
    head = ("arm", "SAEs", "training", "cost", "mean FVU excess [95 %]", "worst layer")
    cells = [_row(arm, _note(arm, arms, numbers)) for _, arm in rows.iterrows()]
    left, left_out = arms.drop(rows.index), []
    for dominated, start in ((False, "Not dominated, not shown:"), (True, "Dominated:")):
        names = [full_label(arm) for _, arm in left[left["dominated"] == dominated].iterrows()]
        if names:
            left_out.append(fitted(start, names, "{} more"))
    last = f"margins {margins} %"
    last = last if sum(_WIDTHS) + 1 + len(last) <= WIDTH else f"±{margins} %"
    return Ranking((*head, last), cells, left_out)


def _shown(arms: pd.DataFrame, first: pd.Series, n_rows: int) -> list[int]:
    """Index of the rows to show, the best first, the others in the order of `arms`."""
    alike = same_training(arms["matched_count"], first["matched_count"])
    alone = arms["variant"].str.startswith("tokens") & (arms["partition"] == PER_LAYER)
    distance = abs(arms["matched_count"] - first["matched_count"])
    near = distance.sort_values(kind="stable").index
    order = [
        first.name,
        *arms.index[arms["arm"] == PER_LAYER],
        *arms.index[alike & alone],
        *arms.index[alike & (arms["role"] == "rival")],
        *(index for index in near if not arms.loc[index, "dominated"]),
        *near,
    ]
    picked = list(dict.fromkeys(order))[:n_rows]
    return [first.name, *(index for index in arms.index if index in picked[1:])]


def _row(arm: pd.Series, note: str) -> tuple[str, ...]:
    excess = percent(arm["excess_fvu"], True)
    interval = bounds(arm["excess_fvu_low"], arm["excess_fvu_high"])
    full = arm["arm"] == PER_LAYER
    return (
        _short_label(arm),
        str(arm["count"]),
        share(budget(arm)),
        percent(arm["cost_relative"]),
        "" if full else f"{excess} {interval}".rstrip(),
        "" if full else percent(arm["excess_fvu_worst"], True),
        note,
    )


def _short_label(arm: pd.Series) -> str:
    """A label without the number of SAEs, which has its own column."""
    text, most = label(arm).replace(f"{arm['count']} shared SAEs", "shared"), _WIDTHS[0] - 2
    return text if len(text) <= most else text[: most - 1] + "…"


def _aligned(cells: tuple[str, ...]) -> str:
    first, *others = zip(cells, _WIDTHS)
    middle = "".join(cell.rjust(width) for cell, width in others)
    return f"{first[0].ljust(first[1])}{middle} {cells[-1]}".rstrip()


def _note(arm: pd.Series, arms: pd.DataFrame, numbers: dict[str, int]) -> str:
    """Which arm of the table dominates an arm; else how it compares with full per-layer SAEs."""
    if arm["dominated"]:
        above = dominating(arms, arm)
        by = [numbers[name] for name in above["arm"] if name in numbers]
        return f"dominated by {min(by)}" if by else "dominated"
    if arm["arm"] == PER_LAYER:
        return ""
    return together(arm["verdict"], arm["verdict_worst"])
