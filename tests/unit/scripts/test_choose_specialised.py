"""The choice of roots and budget from files of pilots whose FVU is known."""

import json

import pytest
from choose_specialised import main
from synthetic_results import nested

from clustersae.experiment.arms import partition_name
from clustersae.experiment.clusters import layers_of
from clustersae.experiment.plan import candidates, specialised_pilots
from clustersae.runtime.files import write_csv, write_json

N_LAYERS = 3
SETTINGS = {
    "clustering": {"methods": ["complete"], "pilot_fraction": 0.1},
    "sae": {"specialise": {"shared_fraction": 0.5}},
}
DESCRIPTION = {
    "n_layers": N_LAYERS,
    "partitions": {
        partition_name("complete", count, N_LAYERS): {"clusters": nested(N_LAYERS, count)}
        for count in range(1, N_LAYERS + 1)
    },
}


def excess(budget: float) -> float:
    return 0.3 - budget / 2


@pytest.fixture
def pilots(tmp_path):
    """Reconstruction files of all pilots: an arm of budget b loses 0.3 - b/2 on validation."""
    write_json(tmp_path / "partitions.json", DESCRIPTION)
    arms = specialised_pilots(DESCRIPTION, SETTINGS)
    budgets = [None, *(budget for _, budget in candidates(N_LAYERS))]
    rows = {}
    for arm, budget in zip(arms, budgets, strict=True):
        loss = 0 if budget is None else excess(budget)
        for variant, name in arm.saes:
            (layer,) = layers_of(name)
            for split, factor in (("validation", 1 + loss), ("test", 9)):
                row = {"variant": variant, "cluster": name, "seed": 0, "layer": layer}
                numbers = dict.fromkeys(("n_tokens", "mse", "cosine", "l0"), 1)
                numbers |= {"dead_fraction": 0, "ultra_low_density_fraction": 0}
                numbers["fvu"] = 0.1 * (layer + 1) * factor
                rows.setdefault((variant, name, split), row | {"split": split} | numbers)
    write_csv(tmp_path / "pilots.csv", list(rows.values()))
    return tmp_path


@pytest.mark.parametrize(("target", "budget", "within"), [(0.11, 0.4, True), (-0.2, 0.8, False)])
def test_the_least_budget_that_reaches_the_target(pilots, target, budget, within):
    output = pilots / "chosen.json"
    main(pilots / "partitions.json", [pilots / "pilots.csv"], output, SETTINGS, target)
    chosen = json.loads(output.read_text())
    assert chosen["budget"] == budget
    assert chosen["within_target"] == within
    # Arms with two roots share the SAE of a single layer with one another.
    for each in (each for each in chosen["candidates"] if each["from"] == 1):
        assert each["excess_fvu"] == pytest.approx(excess(each["budget"]))
