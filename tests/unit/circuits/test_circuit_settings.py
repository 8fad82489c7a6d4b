"""What settings that are left open become, by the size of the model."""

import dataclasses

from clustersae.circuits.affordable import settled
from clustersae.circuits.measuring import CircuitSettings

OPEN = dict.fromkeys(("sizes", "errors", "ablations", "exact_nodes"))


def test_a_small_model_gets_everything():
    found = settled(OPEN, n_layers=6, d_model=128)
    assert CircuitSettings(**found) == CircuitSettings()


def test_a_large_model_gets_what_figures_and_verdict_are_about():
    large = settled(OPEN, n_layers=30, d_model=576)
    small = settled(OPEN, n_layers=6, d_model=128)
    for key in ("errors", "ablations"):
        assert large[key] == small[key][:1]
    for key in ("sizes", "exact_nodes"):
        assert 2 < large[key] < small[key]


def test_what_is_asked_for_stays():
    asked = dataclasses.asdict(CircuitSettings(sizes=5, max_nodes=None, errors=["kept"]))
    asked |= {"exact_nodes": 0, "min_pairs": 3}
    assert settled(asked, n_layers=30, d_model=576) == asked
