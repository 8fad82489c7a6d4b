"""Rows of arms.csv and comparisons.csv, written by hand for what the verdict says of them."""

from typing import Any

import numpy as np
import pandas as pd

MARGINS = {"mean": 0.05, "worst": 0.1}
#: SAEs that serve all layers between them; others are one for every layer.
COUNTS = {"single": 1, "complete-3": 3}


def word_of(low: float, high: float, margin: float = 0.0) -> str:
    """Of an interval; more is worse, and those of 90 and 95 % are as if they were alike."""
    if max(-low, high) <= margin:
        return "equivalent"
    if not (low > 0 or high < 0):
        return "undecided"
    return "worse" if low > 0 else "better"


def arm(
    names: tuple[str, str, float],
    excess: float,
    width: float = 0.01,
    n_layers: int = 5,
    **more: Any,
) -> dict[str, Any]:
    """A row of arms.csv; the worst layer loses 0.02 more than the mean, on both splits.

    Args:
        names: arm, role and matched_count.
    """
    name, role, matched_count = names
    partition, _, variant = name.partition(" ")
    worst = excess + 0.02 if excess else 0.0
    return {
        **{"arm": name, "partition": partition, "variant": variant.strip("()") or "base"},
        "method": "specialised" if role == "specialised" else partition.rsplit("-", 1)[0],
        **{"role": role, "count": COUNTS.get(partition, n_layers)},
        **{"matched_count": matched_count, "n_layers": n_layers, "n_seeds": 3},
        **{"fvu": 0.1 * (1 + excess), "excess_fvu": excess, "excess_fvu_worst": worst},
        **{"excess_fvu_low": excess - width, "excess_fvu_high": excess + width},
        **{"excess_fvu_worst_low": worst - width, "excess_fvu_worst_high": worst + width},
        "verdict": word_of(excess - width, excess + width, MARGINS["mean"]),
        "verdict_worst": word_of(worst - width, worst + width, MARGINS["worst"]),
        **{"excess_fvu_validation": excess, "excess_fvu_worst_validation": worst},
        **{"worst_excess_layer": 4, "dead_fraction": 0.4, "n_tokens_dead": 40_000},
        "cost_relative": 0.1 + 0.9 * matched_count / n_layers,
        "cost_relative_predicted": 0.1 + 0.9 * matched_count / n_layers,
        "cost_relative_untuned": 0.2 + 0.8 * matched_count / n_layers,
        **{"cost_seconds": 10.0 * matched_count, "cost_flops": 1e9, "cost_relative_flops": 0.5},
        **{"peak_memory_mb": 700.0, "peak_gpu_memory_mb": np.nan, "live_latents": 60.0},
        **{"l0_token": 32.0, "l0_token_layer": 8.0},
        **{
            f"{start}_equal_{unit}{end}": np.nan
            for unit in ("seconds", "flops")
            for start, ends in (("budget", [""]), ("excess_fvu", ["", "_low", "_high"]))
            for end in ends
        },
        **{"verdict_equal_seconds": None, "verdict_equal_flops": None},
        **{"ce_all": np.nan, "ce_clean": np.nan},
        **{f"excess_ce_all{end}": np.nan for end in ("", "_low", "_high")},
        **{f"excess_ce_all_bounded{end}": np.nan for end in ("", "_low", "_high")},
    } | more


def comparisons(arms: pd.DataFrame) -> pd.DataFrame:
    """Rows of comparisons.csv: every specialised or shared arm over every per-layer arm."""
    rows = [
        {
            **{"arm": own["arm"], "against": rival["arm"], "role": rival["role"]},
            "matched_count": own["matched_count"],
            "against_matched_count": rival["matched_count"],
            **_excess(own["fvu"] / rival["fvu"] - 1),
            "cost_ratio": own["cost_relative"] / rival["cost_relative"],
        }
        for _, own in arms[arms["role"].isin(["specialised", "main"])].iterrows()
        for _, rival in arms[arms["partition"] == "per-layer"].iterrows()
    ]
    columns = ["arm", "against", "role", "matched_count", "against_matched_count"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def _excess(value: float) -> dict[str, Any]:
    ends = {"_low": value - 0.01, "_high": value + 0.01, "": value}
    return {
        **{f"excess_fvu{end}": number for end, number in ends.items()},
        **{f"excess_fvu_worst{end}": number + 0.02 for end, number in ends.items()},
        "verdict": word_of(value - 0.01, value + 0.01, MARGINS["mean"]),
        "verdict_worst": word_of(value + 0.01, value + 0.03, MARGINS["worst"]),
    }
