"""One row per arm, and one row per comparison of an arm under study with one of its rivals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.experiment.variants import EQUAL_EXPOSURE, kind_of
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.judging import same_training
from clustersae.quality.choice import marked
from clustersae.quality.layers import array, seeds_of
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import Bootstrap, Bootstrapping, Interval, Layers, cells

_ABSENT = Interval(np.nan, np.nan, np.nan)


def arms_table(
    arms: Sequence[Arm],
    quality: pd.DataFrame,
    partition_splice: pd.DataFrame,
    cost: pd.DataFrame,
    margins: Mapping[str, float],
    settings: Bootstrapping,
) -> pd.DataFrame:
    """Quality (test split) and cost of every arm, each beside the per-layer baseline.

    `excess_fvu_validation` and `excess_fvu_worst_validation` repeat, on the validation split, the
    numbers that arms are chosen by (see `choice.marked`). `excess_ce_all` is the cross-entropy with
    all layers spliced above that of the per-layer SAEs, in nats per token, paired by seed. Cells
    are empty where nothing was measured.

    Args:
        arms: with the per-layer baseline among them.
        quality: `layer_quality` of the arms.
        partition_splice: rows of `evaluation/splice/{variant}/{partition}/all.csv`.
        cost: `cost_table` of the arms.
        margins: largest excess FVU, of the mean over layers (mean) and of one layer (worst).
        settings: of the intervals; all arms share the resamples.
    """
    test, validation = (quality[quality["split"] == name] for name in ("test", "validation"))
    by_cost = cost.set_index("arm")
    rows = []
    for arm in arms:
        pair = _Pair.of(test, arm.name, PER_LAYER, settings)
        fvu = pair.values("fvu")
        rows.append(
            {
                **arm_columns(arm),
                "n_layers": len(pair.layers),
                "n_seeds": len(pair.seeds),
                "n_tokens": int(pair.rows["n_tokens"].max()),
                "n_bootstrap": settings.n_resamples,
                **cells("fvu", pair.bootstrap.mean(fvu)),
                **cells("fvu_worst", pair.bootstrap.mean(fvu, "worst")),
                "worst_layer": int(pair.layers[fvu.mean(1).argmax()]),
                **cells("excess_fvu", pair.excess()),
                **cells("excess_fvu_worst", pair.excess("worst")),
                "worst_excess_layer": int(
                    pair.layers[(fvu.mean(1) / pair.values("fvu", PER_LAYER).mean(1)).argmax()]
                ),
                "excess_fvu_validation": _excess_on(validation, arm.name, settings, "mean"),
                "excess_fvu_worst_validation": _excess_on(validation, arm.name, settings, "worst"),
                **cells("delta_ce", pair.mean("delta_ce")),
                **_all_layers(partition_splice, arm, settings),
                **{
                    name: float(pair.rows[name].mean())
                    for name in (
                        *("fvu_all_tokens", "fvu_standardised"),
                        *("ce_recovered_zero", "ce_recovered_mean", "kl", "mse", "cosine"),
                        *("l0", "dead_fraction", "ultra_low_density_fraction"),
                    )
                },
                "cost_seconds": by_cost.loc[arm.name, "total_seconds"],
                "cost_relative": by_cost.loc[arm.name, "relative"],
                "cost_relative_low": by_cost.loc[arm.name, "relative_low"],
                "cost_relative_high": by_cost.loc[arm.name, "relative_high"],
                "cost_relative_predicted": by_cost.loc[arm.name, "relative_predicted"],
            }
        )
    return marked(pd.DataFrame(rows), margins)


def comparisons_table(
    arms: Sequence[Arm], quality: pd.DataFrame, cost: pd.DataFrame, settings: Bootstrapping
) -> pd.DataFrame:
    """Every arm under study against each of its rivals.

    Rivals of a clustered arm of the main method: the controls, the other methods, equal exposure
    and the per-layer arms that spend the same. Rivals of a specialised arm: the per-layer arms of
    every length, and the clustered and narrower ones that spend the same. `excess_fvu` is paired:
    mean FVU of `arm` over that of `against`, minus 1, so that below zero the arm under study is
    better. `cost_ratio` is the same ratio of measured seconds.
    """
    test = quality[quality["split"] == "test"]
    seconds = cost.set_index("arm")["total_seconds"]
    rows = []
    for arm in (arm for arm in arms if arm.role in ("main", "specialised")):
        for rival in (rival for rival in arms if _are_rivals(arm, rival)):
            pair = _Pair.of(test, arm.name, rival.name, settings)
            rows.append(
                {
                    "arm": arm.name,
                    "against": rival.name,
                    "role": rival.role,
                    "matched_count": arm.matched_count,
                    "against_matched_count": rival.matched_count,
                    "n_layers": len(pair.layers),
                    "n_seeds": len(pair.seeds),
                    "n_bootstrap": settings.n_resamples,
                    **cells("excess_fvu", pair.excess()),
                    **cells("excess_fvu_worst", pair.excess("worst")),
                    "cost_ratio": seconds[arm.name] / seconds[rival.name],
                }
            )
    columns = [
        *("arm", "against", "role", "matched_count", "against_matched_count"),
        *("n_layers", "n_seeds", "n_bootstrap"),
        *("excess_fvu", "excess_fvu_low", "excess_fvu_high"),
        *("excess_fvu_worst", "excess_fvu_worst_low", "excess_fvu_worst_high", "cost_ratio"),
    ]
    return pd.DataFrame(rows, columns=columns)


def _are_rivals(arm: Arm, rival: Arm) -> bool:
    equal = same_training(arm.matched_count, rival.matched_count)
    if arm.role == "main":
        if rival.role == EQUAL_EXPOSURE:  # the same clusters, trained for longer
            return rival.partition == arm.partition
        return equal and rival.role not in ("main", "specialised", "baseline")
    if rival.partition == PER_LAYER and kind_of(rival.variant) != "narrower":
        return True
    return equal and rival.role in ("main", "equal-compute")


class _Pair(NamedTuple):
    """Two arms on the same layers and seeds."""

    rows: pd.DataFrame
    other: pd.DataFrame
    layers: list[int]
    seeds: list[int]
    bootstrap: Bootstrap

    @classmethod
    def of(cls, frame: pd.DataFrame, name: str, other: str, settings: Bootstrapping) -> "_Pair":
        own, against = (frame[frame["arm"] == arm] for arm in (name, other))
        layers = sorted(int(layer) for layer in set(own["layer"]))
        if not layers or set(layers) != set(against["layer"]):
            raise InputError(f"{name} and {other} were not evaluated on the same layers.")
        seeds = sorted(set(seeds_of(own)) & set(seeds_of(against)))
        if not seeds:
            raise InputError(f"{name} and {other} have no seed in common.")
        bootstrap = Bootstrap(len(layers), len(seeds), *settings)
        return cls(own, against, layers, seeds, bootstrap)

    def values(self, column: str, arm: str | None = None) -> np.ndarray:
        rows = self.rows if arm in (None, self.rows["arm"].iloc[0]) else self.other
        return array(rows, column, self.layers, self.seeds)

    def excess(self, layers: Layers = "mean") -> Interval:
        baseline = array(self.other, "fvu", self.layers, self.seeds)
        return self.bootstrap.excess(self.values("fvu"), baseline, layers)

    def mean(self, column: str) -> Interval:
        if self.rows[column].isna().all():
            return _ABSENT
        return self.bootstrap.mean(self.values(column))


def _excess_on(frame: pd.DataFrame, arm: str, settings: Bootstrapping, layers: Layers) -> float:
    if frame.empty:
        return np.nan
    return _Pair.of(frame, arm, PER_LAYER, settings).excess(layers).estimate


def _all_layers(splice: pd.DataFrame, arm: Arm, settings: Bootstrapping) -> dict[str, Any]:
    """Columns of all layers spliced at once: one value per seed, so seeds alone are resampled."""
    rows, base = (
        splice[(splice["partition"] == name) & (splice["variant"] == variant)].set_index("seed")
        for name, variant in ((arm.partition, arm.variant), (PER_LAYER, "base"))
    )
    rise = _over_seeds(rows["delta_ce"], settings)
    # Paired by seed; seeds that only one of the two has drop out.
    excess = _over_seeds((rows["ce_spliced"] - base["ce_spliced"]).dropna(), settings)
    means = {
        "ce_clean": "ce_clean",
        "ce_all": "ce_spliced",
        "ce_recovered_all_zero": "ce_recovered_zero",
        "ce_recovered_all_mean": "ce_recovered_mean",
        "kl_all": "kl",
    }
    return {
        **cells("delta_ce_all", rise),
        **cells("excess_ce_all", excess),
        **{name: float(rows[column].mean()) for name, column in means.items()},
        "n_seeds_all": len(rows),
    }


def _over_seeds(values: pd.Series, settings: Bootstrapping) -> Interval:
    if values.empty:
        return _ABSENT
    return Bootstrap(1, len(values), *settings).mean(values.to_numpy(np.float64)[None])
