"""What pilots settle, from FVU by hand: on the validation split, against pilots as short."""

import pandas as pd
import pytest
from plan_settings import description, plan_settings

from clustersae.experiment.clusters import layers_of
from clustersae.experiment.planning import make_pilots
from clustersae.quality.pilots import settle

DESCRIPTION = description(4, "complete")
#: What an SAE loses in each of its layers, by how many these are.
LOST = {1: 1.0, 2: 1.04, 4: 1.5}


def settled(**margins):
    settings = plan_settings(auto=["shared"], margins=margins)
    rows = [
        {"variant": variant, "cluster": name, "seed": 0, "split": split, "layer": layer, "fvu": fvu}
        for variant, name in make_pilots(DESCRIPTION, settings).evaluated_saes
        for layer in layers_of(name)
        for split, fvu in (("validation", 0.2 * LOST[len(layers_of(name))]), ("test", 0.2))
    ]
    return settle(DESCRIPTION, settings, pd.DataFrame(rows))


def test_the_cheapest_candidate_within_the_margins_is_added_to_the_plan():
    found = settled(mean=0.05, worst=0.1)
    assert (found["family"], found["entry"], found["pilot_fraction"]) == ("shared", 2, 0.1)
    one, two, three = found["candidates"]
    assert [each["entry"] for each in (one, two, three)] == [1, 2, 3]
    assert [each["pilot_budget"] for each in (one, two)] == pytest.approx([0.1 / 4, 0.1 / 2])
    assert [each["excess_fvu"] for each in (one, two)] == pytest.approx([0.5, 0.04])
    # Of three clusters one has two layers.
    assert three["excess_fvu"] == pytest.approx(1.04**0.5 - 1)
    assert three["excess_fvu_worst"] == pytest.approx(0.04)
    assert [each["within_margins"] for each in (one, two, three)] == [False, True, True]
    assert settled(mean=0.03, worst=0.1)["entry"] == 3


def test_without_one_nothing_is_added():
    found = settled(mean=0.01, worst=0.1)
    assert (found["family"], found["entry"]) == (None, None)
