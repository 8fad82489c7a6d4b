"""One row per arm, and one row per comparison of an arm under study with one of its rivals."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.experiment.variants import CROSSCODER, EQUAL_EXPOSURE, kind_of
from clustersae.presentation.arms import arm_columns, select
from clustersae.presentation.judging import same_training
from clustersae.quality.choice import marked
from clustersae.quality.equal_cost import equal_cost_columns
from clustersae.quality.pairs import Pair, Words, pairs_of
from clustersae.statistics.intervals import ABSENT, cells, over_seeds

#: Columns of arms.csv that are plain means over layers and seeds.
_MEANS = (
    *("fvu_all_tokens", "fvu_standardised"),
    *("ce_recovered_zero", "ce_recovered_mean", "kl", "mse", "cosine"),
    *("l0", "dead_fraction", "ultra_low_density_fraction"),
)

_RATIOS = ("cost_ratio", "flops_ratio")
#: Columns of arms.csv → those of `cost_table` that they are.
_COSTS = {
    "cost_seconds": "total_seconds",
    **{f"cost_{name}": name for name in ("relative", "relative_low", "relative_high")},
    "cost_relative_predicted": "relative_predicted",
    "cost_relative_untuned": "relative_untuned",
    "cost_flops": "flops_total",
    "cost_relative_flops": "relative_flops",
    "peak_memory_mb": "peak_memory_mb",
    "peak_gpu_memory_mb": "peak_gpu_memory_mb",
}


def arms_table(
    arms: Sequence[Arm],
    quality: pd.DataFrame,
    partition_splice: pd.DataFrame,
    density: pd.DataFrame,
    cost: pd.DataFrame,
    totals: Mapping[str, pd.DataFrame],
    margins: Mapping[str, float],
) -> pd.DataFrame:
    """Quality (test split) and cost of every arm, each beside the per-layer baseline.

    `verdict` and `verdict_worst` say in words what the excess of the mean and of the worst layer
    shows (see `statistics.equivalence`). The worst layers, `worst_layer` by FVU and
    `worst_excess_layer` by excess, are those of the validation split. `excess_fvu_validation` and
    `excess_fvu_worst_validation` are what arms are chosen by (see `choice.marked`).
    `excess_ce_all` is the cross-entropy with all layers spliced above that of the per-layer SAEs,
    in nats per token, paired by seed; `*_bounded` are with reconstructions that are no longer than
    what they replace (`SparseAutoencoder.reconstruct`). `live_latents` is the mean over layers and
    seeds of the latents that fire on any of `n_tokens_dead` held-out tokens, of the validation and
    the test split; `l0` is of the latents that a layer's reconstruction is made of, `l0_token` of
    all codes of a token together, `l0_token_layer` that over the number of layers: the same as
    `l0`, but for crosscoders, whose code serves several layers. `*_equal_*` are explained in
    `quality.equal_cost`. Cells are empty where nothing was measured.

    Args:
        arms: with the per-layer baseline among them.
        quality: `layer_quality` of the arms.
        partition_splice: rows of `evaluation/splice/{variant}/{partition}/all.csv`.
        density: `density_table` of the arms' SAEs.
        cost: `cost_table` of the arms.
        totals: `totals_by_seed` of the arms.
        margins: largest excess FVU, of the mean over layers (mean) and of one layer (worst).
    """
    by_cost = cost.set_index("arm")
    pair_of = pairs_of(quality)
    rows = []
    for arm in arms:
        pair = pair_of(arm.name, PER_LAYER)
        rows.append(
            {
                **arm_columns(arm),
                "n_layers": len(pair.layers),
                "n_seeds": len(pair.seeds),
                "n_tokens": int(pair.rows["n_tokens"].max()),
                **cells("fvu", pair.mean("fvu")),
                **cells("fvu_worst", pair.fvu_of_worst()),
                "worst_layer": pair.worst_layer,
                **_excess(pair, margins),
                "worst_excess_layer": pair.worst_excess_layer,
                "excess_fvu_validation": pair.excess_validation,
                "excess_fvu_worst_validation": pair.excess_worst_validation,
                **cells("delta_ce", pair.mean("delta_ce")),
                **_all_layers(partition_splice, arm),
                **{name: float(pair.rows[name].mean()) for name in _MEANS},
                **_active(pair.rows, len(pair.layers)),
                "live_latents": _live_latents(density, arm),
                "n_tokens_dead": int(pair.rows["n_tokens_dead"].max()),
                **{name: by_cost.loc[arm.name, column] for name, column in _COSTS.items()},
                **equal_cost_columns(arm, arms, quality, totals, margins),
            }
        )

    def losses(name: str, other: str) -> Words:
        return pair_of(name, PER_LAYER).words_beside(pair_of(other, PER_LAYER), margins)

    return marked(pd.DataFrame(rows), margins, losses)


def comparisons_table(
    arms: Sequence[Arm], quality: pd.DataFrame, cost: pd.DataFrame, margins: Mapping[str, float]
) -> pd.DataFrame:
    """Every arm under study against each of its rivals, on the test split.

    Rivals of a clustered arm of the main method: the controls, the other methods, equal exposure
    and the per-layer arms that spend the same. Rivals of a specialised arm: the per-layer arms of
    every length, and the clustered and narrower ones and those of role rival that spend the same.
    An arm of role rival is itself held against per-layer arms of every length. `excess_fvu` is
    paired: FVU of `arm` over that of `against`, minus 1, so that below zero the arm under study is
    better; `verdict` and `verdict_worst` say in words what it shows. `cost_ratio` is the ratio of
    measured seconds, `flops_ratio` that of operations, both of the whole bill.

    Args:
        margins: largest excess FVU that does not matter, `mean` and `worst`.
    """
    bill = cost.set_index("arm")[["total_seconds", "flops_total"]]
    pair_of = pairs_of(quality)
    rows = []
    for arm in (arm for arm in arms if arm.role in ("main", "specialised", "rival")):
        for rival in (rival for rival in arms if _are_rivals(arm, rival)):
            pair = pair_of(arm.name, rival.name)
            rows.append(
                {
                    "arm": arm.name,
                    "against": rival.name,
                    "role": rival.role,
                    "matched_count": arm.matched_count,
                    "against_matched_count": rival.matched_count,
                    "n_layers": len(pair.layers),
                    "n_seeds": len(pair.seeds),
                    **_excess(pair, margins),
                    "worst_excess_layer": pair.worst_excess_layer,
                    **dict(zip(_RATIOS, bill.loc[arm.name] / bill.loc[rival.name])),
                }
            )
    columns = [
        *("arm", "against", "role", "matched_count", "against_matched_count"),
        *("n_layers", "n_seeds"),
        *("excess_fvu", "excess_fvu_low", "excess_fvu_high", "verdict"),
        *("excess_fvu_worst", "excess_fvu_worst_low", "excess_fvu_worst_high", "verdict_worst"),
        *("worst_excess_layer", *_RATIOS),
    ]
    return pd.DataFrame(rows, columns=columns)


def _excess(pair: Pair, margins: Mapping[str, float]) -> dict[str, Any]:
    """What one arm loses against the other, with the words for it."""
    words = pair.words(margins)
    return {
        **cells("excess_fvu", pair.excess.interval()),
        "verdict": words.mean,
        **cells("excess_fvu_worst", pair.excess_worst.interval()),
        "verdict_worst": words.worst,
    }


def _are_rivals(arm: Arm, rival: Arm) -> bool:
    equal = same_training(arm.matched_count, rival.matched_count)
    if arm.role == "main":
        if rival.role == EQUAL_EXPOSURE:  # the same clusters, trained for longer
            return rival.partition == arm.partition
        return equal and rival.role not in ("main", "specialised", "baseline")
    if rival.partition == PER_LAYER and kind_of(rival.variant) != "narrower":
        return True
    return arm.role == "specialised" and equal and rival.role in ("main", "equal-compute", "rival")


def _live_latents(density: pd.DataFrame, arm: Arm) -> float:
    rows = select(density, arm)
    # A layer whose latents are all dead has no row of live ones, and counts with none.
    live = rows["n_latents"].where(rows["kind"] == "live", 0)
    return float(live.groupby([rows[key] for key in ("cluster", "layer", "seed")]).sum().mean())


def _active(rows: pd.DataFrame, n_layers: int) -> dict[str, float]:
    """Active latents of a token, those of a crosscoder's one code counted once; means over seeds.

    Args:
        rows: of one arm and split.
    """
    joint = rows["sae_variant"].map(kind_of) == CROSSCODER
    n_served = rows.groupby(["sae_variant", "cluster", "seed"])["layer"].transform("count")
    per_code = rows["l0"].where(~joint, rows["l0"] / n_served)
    per_token = float(per_code.groupby(rows["seed"]).sum().mean())
    return {"l0_token": per_token, "l0_token_layer": per_token / n_layers}


def _all_layers(splice: pd.DataFrame, arm: Arm) -> dict[str, Any]:
    """Columns of all layers spliced at once: one value per seed."""
    rows, base = (
        splice[(splice["partition"] == name) & (splice["variant"] == variant)].set_index("seed")
        for name, variant in ((arm.partition, arm.variant), (PER_LAYER, "base"))
    )
    # Paired by seed; seeds that only one of the two has drop out.
    excess = (rows["ce_spliced"] - base["ce_spliced"]).dropna()
    bounded = rows["ce_spliced_bounded"]
    means = {
        "ce_clean": "ce_clean",
        "ce_all": "ce_spliced",
        "ce_recovered_all_zero": "ce_recovered_zero",
        "ce_recovered_all_mean": "ce_recovered_mean",
        "kl_all": "kl",
    }
    return {
        **{
            name: value
            for column, values in (
                ("delta_ce_all", rows["delta_ce"].dropna()),
                ("excess_ce_all", excess),
                ("delta_ce_all_bounded", (bounded - rows["ce_clean"]).dropna()),
                ("excess_ce_all_bounded", (bounded - base["ce_spliced_bounded"]).dropna()),
            )
            for name, value in cells(
                column, ABSENT if values.empty else over_seeds(values.to_numpy()).interval()
            ).items()
        },
        **{name: float(rows[column].mean()) for name, column in means.items()},
        "n_seeds_all": int(rows["ce_spliced"].count()),
    }
