"""Whether it matters how much a rule must keep, and what latents keep that were only matched.

`pairing` is `index` of latents that share theirs, and `matched` of per-layer SAEs, the control.
"""

from collections.abc import Sequence

import pandas as pd

from clustersae.experiment.arms import Arm
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.tables import Format
from clustersae.statistics.intervals import cells
from clustersae.statistics.ratios import Ratio

SWEEP = Format(
    ("variant", "partition", "seed", "group", "pairing", "share"), ("n_pairs", "n_pairs_kept")
)


def sweep_table(arms: Sequence[Arm], measured: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, pairing and `share` of what a rule has above the floor that must be left.

    `share_pairs_kept` is that of the pairs of a rule and another layer, all groups of an arm
    together, with Student's t over seeds; `n_pairs` is a mean over seeds.

    Args:
        measured: rows in the format SWEEP, of every arm that has layers to compare.
    """
    rows = []
    for arm in arms:
        mine = (measured["variant"] == arm.variant) & (measured["partition"] == arm.partition)
        for (pairing, share), part in measured[mine].groupby(["pairing", "share"], sort=True):
            seeds = sorted(set(part["seed"]))
            kept = part.assign(share_pairs_kept=part["n_pairs_kept"] / part["n_pairs"])
            ratio = Ratio.pooled(kept, "share_pairs_kept", "n_pairs", seeds, most=1)
            counts = {"n_seeds": len(seeds), "n_pairs": part["n_pairs"].sum() / len(seeds)}
            row = arm_columns(arm) | {"pairing": pairing, "share": share} | counts
            rows.append(row | cells("share_pairs_kept", ratio.interval()))
    return pd.DataFrame(rows, columns=None if rows else ["arm", "pairing", "share"])
