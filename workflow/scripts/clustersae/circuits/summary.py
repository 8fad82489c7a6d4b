"""What the circuits of an arm show beside those of full per-layer SAEs, for text and figures."""

import pandas as pd

from clustersae.presentation.words import listed
from clustersae.statistics.equivalence import WORDS, Word

#: What each measure is called, and whether a difference from per-layer SAEs above zero is good.
MEASURES = {
    "distance": ("distance of faithfulness from 1", -1),
    "completeness": ("area under completeness", -1),
    "deviation": ("deviation of all latents without errors", -1),
}


def of_mode(
    circuits: pd.DataFrame, errors: str, ablation: str, control: str = "none"
) -> pd.DataFrame:
    """The rows of one mode of errors, one ablation and one control."""
    found = (circuits["errors"] == errors) & (circuits["ablation"] == ablation)
    return circuits[found & (circuits["control"] == control)]


def verdict(row: pd.Series, measure: str) -> Word:
    """What the difference from per-layer SAEs shows; undecided where there is none."""
    found = row.get(f"{measure}_verdict")
    return found if found in WORDS else "undecided"


def by_outcome(row: pd.Series) -> dict[Word, list[str]]:
    """The measures of every word."""
    return {word: [each for each in MEASURES if verdict(row, each) == word] for word in WORDS}


def measures_named(measures: list[str]) -> str:
    """Measures in words."""
    return listed([MEASURES[each][0] for each in measures])
