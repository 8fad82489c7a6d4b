"""What pilots settle, from FVU by hand: on the validation split, against pilots as short."""

import pandas as pd
import pytest
from plan_settings import description, plan_settings

from clustersae.experiment.clusters import layers_of
from clustersae.experiment.planning import make_pilots
from clustersae.quality.pilots import settle

#: FVU of an SAE on validation, by its number of layers.
FVU = {1: 0.2, 2: 0.2 * 1.04, 4: 0.2 * 1.5}


@pytest.mark.parametrize(("mean", "entry"), [(0.05, 2), (0.03, 3), (0.01, None)])
def test_the_cheapest_candidate_within_the_margins_is_added_to_the_plan(mean, entry):
    partitions = description(4, "complete")
    settings = plan_settings(auto=["shared"], margins={"mean": mean, "worst": 0.1})
    rows = [
        (variant, name, 0, layer, split, fvu)
        for variant, name in make_pilots(partitions, settings).evaluated_saes
        for layer in layers_of(name)
        for split, fvu in (("validation", FVU[len(layers_of(name))]), ("test", 0.2))
    ]
    names = ["variant", "cluster", "seed", "layer", "split", "fvu"]
    found = settle(partitions, settings, pd.DataFrame(rows, columns=names))
    assert (found["family"], found["entry"]) == ("shared" if entry else None, entry)
    one, two, three = found["candidates"]
    assert (one["entry"], two["entry"], three["entry"]) == (1, 2, 3)
    assert (one["pilot_budget"], two["pilot_budget"]) == pytest.approx((0.1 / 4, 0.1 / 2))
    assert (one["excess_fvu"], two["excess_fvu"]) == pytest.approx((0.5, 0.04))
    # Of three clusters one has two layers.
    losses = three["excess_fvu"], three["excess_fvu_worst"]
    assert losses == pytest.approx((1.04**0.5 - 1, 0.04))
