"""What each arm costs: one pass of caching activations and the training of its SAEs.

Measured is A + the sum of the seconds of the SAEs that the arm needs, those that others started
from included, each once; predicted is A + K T with T the mean per-layer SAE and K the arm's
training in units of one, so that the two agree exactly where cost is what the simple model says.
Costs are like for like: every arm covers the same layers, and shares A.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm, baseline
from clustersae.presentation.arms import arm_columns
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import cells, excess, over_seeds


def cost_table(
    arms: Sequence[Arm],
    cost: pd.DataFrame,
    found_by_pilots: str | None = None,
) -> pd.DataFrame:
    """One row per arm: measured and predicted seconds, FLOPs, and each relative to per-layer.

    Seconds and FLOPs of training are sums over the arm's distinct SAEs, averaged over seeds, and
    intervals are over seeds; `relative` is the geometric mean over seeds of the ratio of seconds.
    `relative_training` leaves caching and pilots out; `tuning_seconds`, spent once on learning
    rates that were not taken, are in no total. Peak memory is the largest of any job of the arm,
    caching included.

    Args:
        arms: with the per-layer baseline among them.
        cost: rows of `evaluation/cost.csv`: kind "caching" (all rows are added up: the shards),
            kind "sae" (one row per SAE and seed), kind "pilot" (the short trainings that
            `arms.auto` was settled by, if any).
        found_by_pilots: the arm that one run of the pilots counts for; who names an arm pays for
            no search.
    """
    caching = cost[cost["kind"] == "caching"]
    if caching.empty:
        raise InputError("The cost table has no row of kind caching.")
    cached = caching[_ADDED].sum(min_count=1)
    memory = caching["peak_memory_mb"].max()
    pilots = _pilots(cost)
    saes = _by_sae(cost[cost["kind"] == "sae"])
    base = baseline(arms)
    rows = []
    for arm in arms:
        own, alone = _paired(saes, arm, base)
        once = cached + (pilots if arm.name == found_by_pilots else 0)
        # Totals by seed [1, n_seeds]: SAEs are added up.
        seconds, base_seconds, flops, base_flops = (
            before[column] + values[column].sum(0)[None]
            for column in ("seconds", "flops")
            for before, values in ((once, own), (cached, alone))
        )
        total = over_seeds(seconds[0]).interval()
        relative = excess(seconds, base_seconds).interval()
        predicted = once["seconds"] + arm.matched_count * alone["seconds"].mean()
        rows.append(
            {
                **arm_columns(arm),
                "caching_seconds": cached["seconds"],
                "pilot_seconds": once["seconds"] - cached["seconds"],
                "training_seconds": total.estimate - once["seconds"],
                **cells("total_seconds", total),
                "predicted_seconds": predicted,
                "relative": 1 + relative.estimate,
                "relative_low": 1 + relative.low,
                "relative_high": 1 + relative.high,
                "relative_predicted": predicted / base_seconds.mean(),
                "flops_caching": once["flops"],
                "flops_training": flops.mean() - once["flops"],
                "relative_training": own["seconds"].sum() / alone["seconds"].sum(),
                "tuning_seconds": own["tuning_seconds"].sum(),
                "relative_flops": flops.mean() / base_flops.mean(),
                "activations": own["activations"].sum(0).mean(),
                "job_seconds": once["job_seconds"] + own["job_seconds"].sum(0).mean(),
                "peak_memory_mb": max(memory, own["peak_memory_mb"].max()),
                "n_saes": len(arm.trained),
                "n_seeds": own["seconds"].shape[1],
            }
        )
    return pd.DataFrame(rows)


#: Work that is done once for all arms, over however many splits and shards.
_ADDED = ["seconds", "job_seconds", "flops"]


def _pilots(cost: pd.DataFrame) -> pd.Series:
    """What one run of the pilots cost; zero without any."""
    pilots = cost[cost["kind"] == "pilot"]
    return pilots[_ADDED].sum() / max(pilots["seed"].nunique(), 1)


def _by_sae(saes: pd.DataFrame) -> pd.DataFrame:
    """Rows (variant, cluster), columns (measure, seed)."""
    if saes.duplicated(["variant", "cluster", "seed"]).any():
        raise InputError("The cost table has two rows for one SAE and seed.")
    return saes.pivot(
        index=["variant", "cluster"],
        columns="seed",
        values=[*_ADDED, "tuning_seconds", "peak_memory_mb", "activations"],
    )


def _paired(
    saes: pd.DataFrame, arm: Arm, base: Arm
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Measures `[n_saes, n_seeds]` of an arm and of the baseline, on the seeds that both have."""
    for sae in (*arm.trained, *base.trained):
        if sae not in saes.index:
            raise InputError(
                f"The cost table lacks the SAE of cluster {sae[1]} (variant {sae[0]})."
            )
    both = saes.loc[list(dict.fromkeys([*arm.trained, *base.trained]))]
    seeds = list(both["seconds"].dropna(axis=1).columns)
    if not seeds:
        raise InputError(f"The SAEs of {arm.name} and {base.name} have no seed in common.")
    own, alone = (
        {
            name: saes.loc[list(chosen.trained), name][seeds].to_numpy(np.float64)
            for name in saes.columns.levels[0]
        }
        for chosen in (arm, base)
    )
    return own, alone
