"""Two arms side by side, by hand: worst layers are picked on one split and told on the other."""

import numpy as np
import pandas as pd
import pytest

from clustersae.quality.pairs import pairs_of
from clustersae.runtime.errors import InputError

MARGINS = {"mean": 0.05, "worst": 0.1}
#: FVU of layers 3 and 7 over 0.1, by split; the two seeds differ by nothing.
FACTORS = {
    "base": {"validation": (1.0, 1.0), "test": (1.0, 1.0)},
    "a": {"validation": (2.0, 1.5), "test": (1.2, 3.0)},
    "b": {"validation": (1.1, 2.0), "test": (4.0, 1.25)},
}


def quality(seeds=None, **changes):
    """Rows of `layer_quality`: arm → split → factor of both layers."""
    rows = [
        {"arm": arm, "split": split, "layer": layer, "seed": seed, "fvu": 0.1 * factor}
        for arm, by_split in (FACTORS | changes).items()
        for split, factors in by_split.items()
        for layer, factor in zip((7, 3), factors[::-1])
        for seed in (seeds or {}).get(arm, (4, 2))
    ]
    return pd.DataFrame(rows).assign(delta_ce=np.nan)


def test_the_worst_layer_is_picked_on_validation_and_told_on_test():
    pair = pairs_of(quality())("a", "b")
    assert (pair.layers, pair.seeds) == ([3, 7], [2, 4])
    assert pair.worst_layer == 3, "of a alone"
    assert pair.fvu_of_worst() == pytest.approx((0.12, 0.12, 0.12))
    assert pair.worst_excess_layer == 3, "2 / 1.1 is more than 1.5 / 2"
    assert pair.excess_worst.interval() == pytest.approx((0.3 - 1,) * 3)
    assert pair.excess_worst_validation == pytest.approx(2 / 1.1 - 1)
    assert pair.excess.interval() == pytest.approx(((0.3 * 2.4) ** 0.5 - 1,) * 3)
    assert pair.excess_validation == pytest.approx((2 / 1.1 * 0.75) ** 0.5 - 1)
    assert [each.interval().estimate for each in pair.of_layers()] == pytest.approx([-0.7, 1.4])
    assert pair.mean("fvu").estimate == pytest.approx(0.21)
    assert np.isnan(pair.mean("delta_ce").estimate)
    assert pair.words(MARGINS) == ("better", "better")
    assert pairs_of(quality())("b", "a").worst_excess_layer == 7


def test_losses_beside_one_another_are_those_of_each_arms_own_worst_layer():
    pair_of = pairs_of(quality(seeds={"b": (2, 4, 5), "base": (2, 4, 5)}))
    a, b = (pair_of(name, "base") for name in "ab")
    # Means (1.2 * 3)^½ and (4 * 1.25)^½; worst layers 3 of a and 7 of b: 1.2 and 1.25.
    assert a.words_beside(b, MARGINS) == ("better", "equivalent")
    assert b.words_beside(a, MARGINS) == ("worse", "equivalent")
    alone = pairs_of(quality(seeds={"b": (2,)}))("b", "base")
    assert a.words_beside(alone, MARGINS) == ("undecided", "undecided"), "one seed in common"


def test_arms_of_other_layers_or_seeds_and_unknown_ones_are_named():
    rows = quality(seeds={"b": (9,)})
    with pytest.raises(InputError, match="a and b have no seed in common"):
        pairs_of(rows)("a", "b")
    lacking = rows[(rows["arm"] != "base") | (rows["split"] == "test") | (rows["layer"] == 3)]
    with pytest.raises(InputError, match="a and base were not evaluated on the same layers"):
        pairs_of(lacking)("a", "base")
    with pytest.raises(InputError, match="a and base were not evaluated on the same layers"):
        pairs_of(rows[(rows["arm"] != "a") | (rows["split"] != "test")])("a", "base")
    with pytest.raises(InputError, match="c was not evaluated"):
        pairs_of(rows)("a", "c")
