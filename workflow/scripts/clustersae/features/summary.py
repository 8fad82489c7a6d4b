"""Which arms the features are about, and what of them is shown, for text and figures."""

import pandas as pd

from clustersae.experiment.arms import SINGLE
from clustersae.presentation.specialised import SPECIALISED, start_of
from clustersae.presentation.words import share
from clustersae.statistics.intervals import holm

#: How often a factor may be named that nothing is lost on.
FAMILY_ERROR = 0.05


def spoken_of(features: pd.DataFrame, specialised: str | None = None) -> pd.DataFrame:
    """The rows of the arms that text is about, none, one or two.

    First the single SAE, or the main method's fewest; then the specialised SAEs of that name, or
    the cheapest, which the question of cost is about.
    """
    several = features[features["layers_served"] > 1]
    main = several[several["role"] == "main"].sort_values("count")
    others = several[several["role"] == SPECIALISED].sort_values("matched_count")
    if specialised is not None:
        others = others[others["arm"] == specialised]
    return pd.concat([main[:1], others[:1]])


def arm_words(row: pd.Series, baseline: pd.Series) -> str:
    """What an arm's SAEs are called, specialised ones with their training."""
    if row["role"] == SPECIALISED:
        spent = share(row["matched_count"] / baseline["count"])
        return f"SAEs specialised {start_of(row['partition'])} ({spent} of the training)"
    return "one SAE for all layers" if row["arm"] == SINGLE else f"{row['count']} shared SAEs"


def shows_difference(row: pd.Series, measure: str) -> bool:
    """Whether a measure has an interval, and one that excludes zero."""
    return bool(row[f"{measure}_low"] > 0 or row[f"{measure}_high"] < 0)


def most_lost(coverage: pd.DataFrame, arm: str) -> pd.Series | None:
    """The factor that an arm loses most of F1 on, of those with a loss that is shown; else None.

    The largest of many losses is large by chance: shown is what Holm's procedure keeps at 5 %.
    """
    rows = coverage[coverage["arm"] == arm]
    rows = rows[(holm(rows["f1_vs_baseline_p"]) <= FAMILY_ERROR) & (rows["f1_vs_baseline"] < 0)]
    return None if rows.empty else rows.loc[rows["f1_vs_baseline"].idxmin()]
