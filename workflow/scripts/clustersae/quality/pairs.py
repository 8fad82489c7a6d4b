"""Two arms on the same layers and seeds: what one loses against the other, and in which layers."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.presentation.arms import arm_columns
from clustersae.quality.layers import array, seeds_of
from clustersae.runtime.errors import InputError
from clustersae.statistics import intervals
from clustersae.statistics.equivalence import Word, word
from clustersae.statistics.intervals import ABSENT, Estimate, Interval


class Words(NamedTuple):
    """What the excess FVU of the mean over layers, and of the worst layer, shows."""

    mean: Word
    worst: Word


class Pair:
    """An arm beside another, on the test split; worst layers are picked on the validation split.

    Args:
        own, other: rows of `layer_quality` of each arm, of both splits.

    Raises:
        InputError: they were not evaluated on the same layers, or have no seed in common.
    """

    def __init__(self, own: pd.DataFrame, other: pd.DataFrame) -> None:
        names = [each["arm"].iloc[0] for each in (own, other)]
        self._rows = {split: own[own["split"] == split] for split in ("test", "validation")}
        self._others = {split: other[other["split"] == split] for split in self._rows}
        self.rows, against = self._rows["test"], self._others["test"]
        self.layers = sorted(int(layer) for layer in set(self.rows["layer"]))
        parts = (*self._rows.values(), *self._others.values())
        if any(set(rows["layer"]) != set(self.layers) for rows in parts):
            raise InputError(
                f"{names[0]} and {names[1]} were not evaluated on the same layers of both splits."
            )
        self.seeds = sorted(set(seeds_of(self.rows)) & set(seeds_of(against)))
        if not self.seeds:
            raise InputError(f"{names[0]} and {names[1]} have no seed in common.")

    def mean(self, column: str) -> Interval:
        """Of the first arm, over all layers; absent where it was not measured."""
        if self.rows[column].isna().all():
            return ABSENT
        return intervals.mean_of_layers(self._array(self.rows, column)).interval()

    def fvu_of_worst(self) -> Interval:
        """Of the first arm's worst layer by FVU."""
        return intervals.of_worst(self._fvu["test"][0], self._worst_place).interval()

    @property
    def worst_layer(self) -> int:
        """The layer of the first arm's largest FVU, on the validation split."""
        return self.layers[self._worst_place]

    @property
    def worst_excess_layer(self) -> int:
        """The layer of the largest excess, on the validation split."""
        return self.layers[self._worst_excess_place]

    @cached_property
    def excess(self) -> Estimate:
        """Of the mean over layers."""
        return intervals.excess(*self._fvu["test"])

    @cached_property
    def excess_worst(self) -> Estimate:
        """Of the layer `worst_excess_layer`."""
        return intervals.excess_of_worst(*self._fvu["test"], self._worst_excess_place)

    @property
    def excess_validation(self) -> float:
        """Of the mean over layers, on the validation split."""
        return intervals.excess(*self._fvu["validation"]).interval().estimate

    @property
    def excess_worst_validation(self) -> float:
        """Of the worst layer, on the validation split."""
        own = self._fvu["validation"]
        return intervals.excess_of_worst(*own, self._worst_excess_place).interval().estimate

    def words_beside(self, other: "Pair", margins: Mapping[str, float]) -> Words:
        """What this pair's losses show beside those of another pair, paired by seed.

        Worst layers may be different ones. So the reverse has the other sign, which the worst layer
        of one arm over another has not: of two arms each may be worse in some layer.

        Raises:
            InputError: the pairs have no seed in common.
        """
        differences = (self._losses - other._losses).dropna(axis=1).to_numpy()
        mean, worst = (intervals.over_seeds(each)._replace(is_log=True) for each in differences)
        return Words(word(mean, margins["mean"]), word(worst, margins["worst"]))

    @cached_property
    def _losses(self) -> pd.DataFrame:
        """Log ratios by seed: of the mean over layers, and of the worst layer."""
        ratios = intervals.log_ratios(*self._fvu["test"])
        rows = [ratios.mean(0), ratios[self._worst_excess_place]]
        return pd.DataFrame(rows, columns=self.seeds)

    def of_layers(self) -> list[Estimate]:
        """Excess of every layer of `layers`, on the test split."""
        return [
            intervals.over_seeds(ratios)._replace(is_log=True)
            for ratios in intervals.log_ratios(*self._fvu["test"])
        ]

    def words(self, margins: Mapping[str, float]) -> Words:
        """What the excess shows within the margins, `mean` and `worst`."""
        return Words(word(self.excess, margins["mean"]), word(self.excess_worst, margins["worst"]))

    @cached_property
    def _worst_place(self) -> int:
        return intervals.worst(self._fvu["validation"][0])

    @cached_property
    def _worst_excess_place(self) -> int:
        return intervals.worst(intervals.log_ratios(*self._fvu["validation"]))

    @cached_property
    def _fvu(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Split → of both arms, [n_layers, n_seeds] each."""
        return {
            split: (self._array(own, "fvu"), self._array(self._others[split], "fvu"))
            for split, own in self._rows.items()
        }

    def _array(self, rows: pd.DataFrame, column: str) -> np.ndarray:
        return array(rows, column, self.layers, self.seeds)


def pairs_of(quality: pd.DataFrame) -> Callable[[str, str], Pair]:
    """Arms by their names → the first beside the second, from `layer_quality`."""
    by_arm = dict(iter(quality.groupby("arm", sort=False)))

    @cache
    def pair(name: str, other: str) -> Pair:
        for each in (name, other):
            if each not in by_arm:
                raise InputError(f"{each} was not evaluated.")
        return Pair(by_arm[name], by_arm[other])

    return pair


def layers_table(arms: Sequence[Arm], quality: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and layer: its excess FVU over full per-layer training, on the test split.

    Intervals are of one layer by itself. `p` is two-sided, of no excess, by Student's t over seeds;
    `p_holm` is corrected for the number of the arm's layers.

    Args:
        arms: with the per-layer baseline among them, which has no rows.
        quality: `layer_quality` of the arms.
    """
    pair_of = pairs_of(quality)
    rows = []
    for arm in (arm for arm in arms if arm.name != PER_LAYER):
        pair = pair_of(arm.name, PER_LAYER)
        found = pair.of_layers()
        corrected = intervals.holm([each.p_value() for each in found])
        rows += [
            {
                **arm_columns(arm),
                "layer": layer,
                "n_seeds": len(pair.seeds),
                **intervals.cells("excess_fvu", each.interval()),
                "p": each.p_value(),
                "p_holm": p_holm,
            }
            for layer, each, p_holm in zip(pair.layers, found, corrected)
        ]
    ends = [f"excess_fvu{end}" for end in ("", "_low", "_high")]
    columns = [*arm_columns(arms[0]), "layer", "n_seeds", *ends, "p", "p_holm"]
    return pd.DataFrame(rows, columns=columns)
