"""The answer in at most fifteen lines: the best arm, the others beside it, a line per question."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from clustersae.presentation.names import arm_name
from clustersae.presentation.shown import baseline, budget, chosen
from clustersae.presentation.words import interval_text, percent, share

#: Of the table, the best arm and the per-layer baseline included.
MAX_ARMS = 7
WIDTH = 100
_COLUMNS = ("{:<30}", "{:>5}", "{:>9}", "{:>7}", "{:>9}", "{:>20}", "{:>9}", "  {}")


def verdict(arms: pd.DataFrame, margins: Mapping[str, float], lines: Sequence[str] = ()) -> str:
    """The answer, for people.

    Args:
        arms: `tables/arms.csv`.
        margins: that the best arm was chosen by, `mean` and `worst`.
        lines: what each further question says, and caveats, in a line each.
    """
    best, base = chosen(arms), baseline(arms)
    dominated = arms[arms["dominated"] & ~arms["chosen"] & (arms["arm"] != base["arm"])]
    others = arms.drop(index=[*dominated.index, best.name, base.name], errors="ignore")
    others = others.sort_values("matched_count", ascending=False, kind="stable")
    kept = [best, *([base] if base.name != best.name else [])]
    room = MAX_ARMS - len(kept)
    rows = [*kept, *(row for _, row in others[:room].iterrows())]
    left = [*(row for _, row in others[room:].iterrows())]
    return "\n".join(
        [
            *_headline(best, base, margins),
            "",
            _line("arm", "SAEs", "training", "cost", "mean FVU", "95 % interval", "worst", ""),
            *(_row(row, best, base) for row in rows),
            *_also("Neither best nor dominated", left),
            *_also("Dominated, as another costs no more and loses no more",
                   [row for _, row in dominated.iterrows()]),
            *lines,
        ]
    ) + "\n"  # fmt: skip


def _headline(best: pd.Series, base: pd.Series, margins: Mapping[str, float]) -> list[str]:
    limits = f"margins: mean {100 * margins['mean']:g} %, worst layer {100 * margins['worst']:g} %"
    if best.name == base.name:
        return [f"Best: one SAE per layer; no cheaper arm stays within the margins ({limits[9:]})."]
    spread = interval_text(best["excess_fvu_low"], best["excess_fvu_high"])
    return [
        f"Best: {arm_name(best)} of the training, {percent(best['cost_relative'])} of the measured"
        " cost of per-layer SAEs."
        if best["role"] != "main"
        else f"Best: {arm_name(best)} instead of {base['count']} SAEs,"
        f" {percent(best['cost_relative'])} of their measured cost.",
        f"Mean FVU {percent(best['excess_fvu'], True)} ({spread}), worst layer"
        f" {percent(best['excess_fvu_worst'], True)} ({limits}).",
    ]


def _row(arm: pd.Series, best: pd.Series, base: pd.Series) -> str:
    if arm.name == best.name:
        note = "best"
    elif arm["dominated"]:
        note = "dominated"
    else:
        note = "within margins" if arm["within_margins"] else ""
    excess = percent(arm["excess_fvu"], True) if arm.name != base.name else "–"
    ends = [percent(arm[f"excess_fvu_{end}"], True).removesuffix(" %") for end in ("low", "high")]
    none = arm.name == base.name or np.isnan(arm["excess_fvu_low"])
    return _line(
        *(arm_name(arm), str(arm["count"]), share(budget(arm)), percent(arm["cost_relative"])),
        *(excess, "" if none else f"[{ends[0]}, {ends[1]}]"),
        percent(arm["excess_fvu_worst"], True) if arm.name != base.name else "–",
        note,
    )


def _line(*cells: str) -> str:
    return "".join(form.format(cell) for form, cell in zip(_COLUMNS, cells)).rstrip()


def _also(start: str, arms: Sequence[pd.Series]) -> list[str]:
    """Names of further arms in one line, as far as they fit."""
    if not arms:
        return []
    names = [f"{arm_name(arm)}" for arm in arms]
    for shown in range(len(names), 0, -1):
        rest = f"; {len(names) - shown} more in arms.csv" if shown < len(names) else ""
        line = f"{start}: {'; '.join(names[:shown])}{rest}."
        if len(line) <= WIDTH + 40:
            return [line]
    return [f"{start}: {len(names)} arms, see arms.csv."]
