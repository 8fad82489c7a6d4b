"""What the circuits of an arm show beside those of full per-layer SAEs, for text and figures."""

import numpy as np
import pandas as pd

from clustersae.presentation.words import listed

#: What each measure is called, and what a difference from per-layer SAEs above zero would mean.
MEASURES = {
    "faithfulness": ("area under faithfulness", +1),
    "completeness": ("area under completeness", -1),
    "deviation": ("deviation of all latents without errors", -1),
}


def of_mode(
    circuits: pd.DataFrame, errors: str, ablation: str, control: str = "none"
) -> pd.DataFrame:
    """The rows of one mode of errors, one ablation and one control."""
    found = (circuits["errors"] == errors) & (circuits["ablation"] == ablation)
    return circuits[found & (circuits["control"] == control)]


def separates(row: pd.Series, measure: str) -> int:
    """−1 if an arm is worse than per-layer SAEs with an interval that excludes zero, +1 if it is
    better, 0 if that is open."""
    low, high = row[f"{measure}_vs_baseline_low"], row[f"{measure}_vs_baseline_high"]
    better = MEASURES[measure][1]
    if np.isnan(low) or low <= 0 <= high:
        return 0
    return better if low > 0 else -better


def by_outcome(row: pd.Series) -> dict[int, list[str]]:
    """The measures by which an arm is worse (−1) and better (1), and those that leave it open."""
    return {
        sign: [each for each in MEASURES if separates(row, each) == sign] for sign in (-1, 1, 0)
    }


def measures_named(measures: list[str]) -> str:
    """Measures in words."""
    return listed([MEASURES[each][0] for each in measures])
