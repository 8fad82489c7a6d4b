"""Whose training is alike, and the excesses that arms are chosen by."""

import numpy as np
import pandas as pd
import pytest
from synthetic_results import Experiment, write_tables

from clustersae.presentation.judging import judged_excess, same_training
from clustersae.presentation.specialised import best_by_budget


def test_training_is_alike_up_to_the_rounding_of_variants():
    assert same_training(2, 1.999)
    assert not same_training(4, 5)
    counts = pd.Series([1.98, 1.999, 2, 2.5])
    assert list(same_training(counts, 2)) == [False, True, True, False]
    assert not same_training(2, np.nan)


def test_excesses_on_validation_are_those_of_that_split(tmp_path):
    only = {"controls": False, "variants": False, "splice": False, "seeds": (0, 1)}
    experiment = Experiment(tmp_path, n_layers=3, counts=(2,), **only)
    for path in tmp_path.glob("evaluation/reconstruction/base/*.csv"):
        rows = pd.read_csv(path)
        alone = path.stem.isdigit()
        # Per-layer SAEs 0.1; of the cluster 0.11 and 0.12 on validation, 0.2 on test.
        on_validation = 0.11 + 0.01 * rows["layer"]
        shared = on_validation.where(rows["split"] == "validation", 0.2)
        rows.assign(fvu=0.1 if alone else shared).to_csv(path, index=False)
    arms = pd.read_csv(write_tables(experiment)["arms"]).set_index("arm")
    # The clusters are 0-1 and 2, so layer 2 loses nothing.
    clusters = arms.loc["complete-2"]
    assert clusters["excess_fvu_validation"] == pytest.approx((1.1 * 1.2) ** (1 / 3) - 1)
    assert clusters["excess_fvu_worst_validation"] == pytest.approx(0.2)
    assert clusters["excess_fvu_worst"] == pytest.approx(1)
    assert arms.loc["per-layer", "excess_fvu_validation"] == 0
    assert judged_excess(clusters) == clusters["excess_fvu_worst_validation"]
    untold = clusters.copy()
    untold["excess_fvu_worst_validation"] = np.nan
    assert judged_excess(untold) == clusters["excess_fvu_worst"]


def test_of_every_budget_the_specialised_arm_of_the_best_worst_layer_is_found():
    losses = [(4, 0.3, 0.1), (2, 0.1, 0.3), (4.001, 0.1, 0.2), (1.999, 0.2, np.nan), (4, 0, 0)]
    columns = ["matched_count", "excess_fvu_worst", "excess_fvu_worst_validation"]
    arms = pd.DataFrame(losses, columns=columns).assign(role=["specialised"] * 4 + ["rival"])
    assert list(best_by_budget(arms).index) == [3, 0]
    assert best_by_budget(arms[4:]).empty
