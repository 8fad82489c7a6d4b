"""What each arm costs: caching what it reads, its SAEs, their tuning, and pilots.

An arm pays for every SAE that it needs once, those that others started from included; for the
caching of the tokens that it reads, once, however many of its SAEs read them; for the learning
rates that were tried and not taken; and for the pilots, where those have found it. All SAEs of a
seed read one stream of tokens from its beginning (those that start from a shared one go on where
that stopped), so what an arm reads reaches from the first token to the last of any of its SAEs.

Predicted is A + K T: A the caching of what the arm reads, T the mean per-layer SAE with its tuning,
K the arm's training in units of one, so that prediction and measurement agree exactly where cost is
what the simple model says. Costs are like for like: every arm covers the same layers.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clustersae.experiment.arms import Arm, baseline
from clustersae.presentation.arms import arm_columns
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import cells, excess, over_seeds


def cost_table(bills: Sequence[tuple[Arm, "Bill", "Bill"]]) -> pd.DataFrame:
    """One row per arm: measured and predicted seconds, FLOPs, and each relative to per-layer.

    Seconds and FLOPs of training are sums over the arm's distinct SAEs, averaged over seeds, and
    intervals are over seeds; `relative` is the geometric mean over seeds of the ratio of total
    seconds. Tuning is done for one seed and taken over by the others: every seed is charged all of
    it; `relative_untuned` leaves it out, as where rates are known from elsewhere. `share_read` is
    the share of the cached tokens that the arm reads.

    Two ends between which the ratio of costs lies, whatever the model: `relative_caching` where
    caching is everything (a large model, small SAEs), and `relative_training`, of the seconds of
    training alone, where training is. Peak memory is the largest of any job of the arm, caching
    included.

    Args:
        bills: as `bills_of` makes them.
    """
    rows = []
    for arm, bill, base_bill in bills:
        own, alone = bill.own, base_bill.own
        seconds, flops = (bill.totals(unit) for unit in ("seconds", "flops"))
        base_seconds, base_flops = (base_bill.totals(unit) for unit in ("seconds", "flops"))
        relative = excess(seconds[None], base_seconds[None]).interval()
        untuned = excess(*(each.untuned()[None] for each in (bill, base_bill))).interval()
        base_training = alone["seconds"].mean(1).sum() + base_bill.tuning["seconds"]
        per_sae = base_training / len(alone["seconds"])
        predicted = bill.once["seconds"] + arm.matched_count * per_sae
        rows.append(
            {
                **arm_columns(arm),
                "share_read": bill.share_read,
                "caching_seconds": bill.caching["seconds"],
                "pilot_seconds": bill.pilots["seconds"],
                "tuning_seconds": bill.tuning["seconds"],
                "training_seconds": own["seconds"].sum(0).mean(),
                **cells("total_seconds", over_seeds(seconds).interval()),
                "predicted_seconds": predicted,
                "relative": 1 + relative.estimate,
                "relative_low": 1 + relative.low,
                "relative_high": 1 + relative.high,
                "relative_predicted": predicted / base_seconds.mean(),
                "relative_untuned": 1 + untuned.estimate,
                "relative_caching": bill.share_read / base_bill.share_read,
                "relative_training": own["seconds"].sum() / alone["seconds"].sum(),
                "flops_caching": bill.caching["flops"],
                "flops_pilots": bill.pilots["flops"],
                "flops_tuning": bill.tuning["flops"],
                "flops_training": own["flops"].sum(0).mean(),
                "flops_total": flops.mean(),
                "relative_flops": flops.mean() / base_flops.mean(),
                "activations": own["activations"].sum(0).mean(),
                "job_seconds": bill.once["job_seconds"] + own["job_seconds"].sum(0).mean(),
                **{
                    name: np.fmax.reduce([bill.peak_of_caching[name], *own[name].ravel()])
                    for name in _PEAKS
                },
                "n_saes": len(arm.trained),
                "n_seeds": own["seconds"].shape[1],
            }
        )
    return pd.DataFrame(rows)


def totals_by_seed(bills: Sequence[tuple[Arm, "Bill", "Bill"]]) -> dict[str, pd.DataFrame]:
    """What every arm costs with every seed: `seconds` and `flops`, rows arms, columns seeds.

    The totals of `cost_table` are the means over seeds.
    """
    return {
        unit: pd.DataFrame(
            {arm.name: pd.Series(bill.totals(unit), bill.seeds) for arm, bill, _ in bills}
        ).T
        for unit in ("seconds", "flops")
    }


def bills_of(
    arms: Sequence[Arm], cost: pd.DataFrame, found_by_pilots: str | None = None
) -> list[tuple[Arm, "Bill", "Bill"]]:
    """Every arm, what it pays and what the baseline does, on the seeds that both have.

    Args:
        arms: with the per-layer baseline among them.
        cost: rows of `evaluation/cost.csv`: kind "caching" (all rows are added up: the shards),
            kind "sae" (one row per SAE and seed), kind "pilot" (the short trainings that
            `arms.auto` was settled by, if any).
        found_by_pilots: the arm that one run of the pilots counts for; who names an arm pays for
            no search.

    Raises:
        InputError: the table lacks something.
    """
    caching, base = cost[cost["kind"] == "caching"], baseline(arms)
    if caching.empty:
        raise InputError("The cost table has no row of kind caching.")
    saes = _by_sae(cost[cost["kind"] == "sae"])
    bills = []
    for arm in arms:
        seeds, own, alone = _paired(saes, arm, base)
        pilots = _pilots(cost, arm)
        searched = pilots if arm.name == found_by_pilots else 0 * pilots
        bill = Bill(caching, seeds, own, searched)
        bills.append((arm, bill, Bill(caching, seeds, alone, 0 * pilots)))
    return bills


#: Units of cost that are added up.
_ADDED = ["seconds", "job_seconds", "flops"]
_PEAKS = ["peak_memory_mb", "peak_gpu_memory_mb"]


class Bill:
    """What one arm pays.

    Args:
        caching: rows of all shards.
        seeds: that own has.
        own: measures `[n_saes, n_seeds]` of the arm's SAEs.
        pilots: what one run of them cost; zeros if the arm does not pay for them.

    Attributes:
        share_read: of the cached tokens.
        peak_of_caching: memory, of any shard.
        once: caching and pilots, which all seeds share.
        tuning: of all the arm's SAEs, which was done for one seed.
    """

    def __init__(
        self, caching: pd.DataFrame, seeds: list[int], own: dict[str, np.ndarray], pilots: pd.Series
    ) -> None:
        self.seeds, self.own, self.pilots = seeds, own, pilots
        reached = max(own["tokens_reached"].max(), pilots["tokens_reached"])
        self.share_read = float(min(1.0, reached / caching["n_tokens"].sum()))
        self.caching = caching[_ADDED].sum(min_count=1) * self.share_read
        self.peak_of_caching = caching[_PEAKS].max()
        self.once = self.caching + pilots[_ADDED]
        self.tuning = {
            unit: np.nan_to_num(own[f"tuning_{unit}"]).sum() for unit in ("seconds", "flops")
        }

    def totals(self, unit: str) -> np.ndarray:
        """By seed, [n_seeds]."""
        return self.once[unit] + self.tuning[unit] + self.own[unit].sum(0)

    def untuned(self) -> np.ndarray:
        """Seconds by seed without the search for learning rates, [n_seeds]."""
        return self.totals("seconds") - self.tuning["seconds"] - self.pilots["tuning_seconds"]


def _pilots(cost: pd.DataFrame, arm: Arm) -> pd.Series:
    """What one run of the pilots cost, tuning included, and how far they read; else zeros.

    Those that are SAEs of the arm itself are in its own bill.
    """
    pilots = cost[cost["kind"] == "pilot"]
    saes = pd.MultiIndex.from_frame(pilots[["variant", "cluster"]])
    pilots = pilots[~saes.isin(list(arm.trained))]
    run = pilots[_ADDED].sum() / max(pilots["seed"].nunique(), 1)
    for unit in ("seconds", "flops"):
        run[f"tuning_{unit}"] = pilots[f"tuning_{unit}"].sum()
        run[unit] += run[f"tuning_{unit}"]
    return pd.concat([run, pd.Series({"tokens_reached": pilots["tokens_reached"].max()})]).fillna(0)


def _by_sae(saes: pd.DataFrame) -> pd.DataFrame:
    """Rows (variant, cluster), columns (measure, seed)."""
    if saes.duplicated(["variant", "cluster", "seed"]).any():
        raise InputError("The cost table has two rows for one SAE and seed.")
    return saes.pivot(
        index=["variant", "cluster"],
        columns="seed",
        values=[
            *_ADDED,
            *("tuning_seconds", "tuning_flops", "activations", "tokens_reached"),
            *_PEAKS,
        ],
    )


def _paired(
    saes: pd.DataFrame, arm: Arm, base: Arm
) -> tuple[list[int], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The seeds that an arm and the baseline have; measures `[n_saes, n_seeds]` of both."""
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
        {name: rows[name][seeds].to_numpy(np.float64) for name in saes.columns.levels[0]}
        for rows in (saes.loc[list(chosen.trained)] for chosen in (arm, base))
    )
    return seeds, own, alone
