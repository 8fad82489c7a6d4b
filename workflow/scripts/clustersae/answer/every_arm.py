"""Every arm beside the others, with all that speaks for it and against it, as a Markdown table."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.arms import full_label
from clustersae.presentation.findings import Findings
from clustersae.presentation.words import bounds, percent


def table(found: Findings) -> str:
    """One row per arm of `tables/arms.csv`, in its order; what was not measured is empty."""
    arms = found.tables["arms"]
    lines = [" | ".join(_COLUMNS), " | ".join(["---"] * len(_COLUMNS))]
    for _, arm in arms.iterrows():
        lines.append(" | ".join(cell(arm) for cell in _COLUMNS.values()))
    counted = f"{arms['n_tokens_dead'].max():,.0f} held-out tokens"
    rows = "\n".join(f"| {line} |" for line in lines)
    return f"{rows}\n\n{_LEGEND} Dead and live latents: per layer, on {counted}.\n"


_LEGEND = (
    "Cost: caching of what the arm reads, SAEs, tuning, pilots; untuned: without the search for"
    " learning rates. FVU, worst layer and CE (all layers"
    " spliced at once, nats; bounded: no reconstruction longer than what it replaces) against full"
    " per-layer SAEs. Equal FLOPs: mean FVU against per-layer"
    " SAEs of the same total FLOPs, interpolated between the lengths that were trained. L0: active"
    " latents of all codes of a token, and these over the number of layers."
)


def _number(column: str, form: str) -> Callable[[pd.Series], str]:
    return lambda arm: "" if np.isnan(arm[column]) else format(arm[column], form).replace("-", "−")


def _share(column: str) -> Callable[[pd.Series], str]:
    return lambda arm: "" if np.isnan(arm[column]) else percent(arm[column])


def _excess(column: str) -> Callable[[pd.Series], str]:
    """A difference with its interval; none of the arm that all are held against."""

    def cell(arm: pd.Series) -> str:
        if arm["arm"] == PER_LAYER or np.isnan(arm[column]):
            return ""
        ends = bounds(arm[f"{column}_low"], arm[f"{column}_high"])
        return f"{percent(arm[column], True)} {ends}".rstrip()

    return cell


def _memory(arm: pd.Series) -> str:
    """Of the GPU as well, where there was one."""
    own, card = (arm[f"peak{name}_memory_mb"] for name in ("", "_gpu"))
    return f"{own:,.0f}" + ("" if np.isnan(card) else f" + {card:,.0f} GPU")


_COLUMNS: dict[str, Callable[[pd.Series], str]] = {
    "arm": full_label,
    "seconds": _number("cost_seconds", ",.3g"),
    "cost": _share("cost_relative"),
    "untuned": _share("cost_relative_untuned"),
    "FLOPs": _number("cost_flops", ".3g"),
    "of full": _share("cost_relative_flops"),
    "memory (MB)": _memory,
    "mean FVU": _excess("excess_fvu"),
    "worst layer": _excess("excess_fvu_worst"),
    "equal FLOPs": _excess("excess_fvu_equal_flops"),
    "CE": _number("excess_ce_all", "+.3f"),
    "CE bounded": _number("excess_ce_all_bounded", "+.3f"),
    "L0 per token": _number("l0_token", ",.1f"),
    "and layer": _number("l0_token_layer", ",.1f"),
    "dead": _share("dead_fraction"),
    "live": _number("live_latents", ",.0f"),
}
