"""Whether two arms are alike, in three words: equivalent, worse (or better), undecided.

That an interval includes zero is no proof of equality: a wide one always does. Equivalence is shown
by two one-sided tests at 5 % (Schuirmann 1987, doi:10.1007/BF01068419), that the difference is
above −margin and that it is below +margin. Both reject where the 90 % interval lies within the
margins, which are set before the run, in `arms.margins` of the configuration.
"""

from typing import Literal

import numpy as np

from clustersae.statistics.intervals import EQUIVALENCE_CONFIDENCE, Estimate

Word = Literal["equivalent", "worse", "better", "undecided"]
WORDS: tuple[Word, ...] = ("equivalent", "worse", "better", "undecided")


def word(
    estimate: Estimate, margin: float = 0.0, more_is: Literal["worse", "better"] = "worse"
) -> Word:
    """What an estimate of a difference shows.

    Args:
        estimate: of the difference (or excess).
        margin: differences of at most this size do not matter; 0: all of them do.
        more_is: what a difference above zero is.

    Returns:
        `equivalent` if the 90 % interval lies within the margins, even if the difference is told
        from zero; else `worse` or `better` if the 95 % interval excludes zero; else, and without
        an interval, `undecided`.
    """
    _, low, high = estimate.interval(EQUIVALENCE_CONFIDENCE)
    if -margin <= low and high <= margin:
        return "equivalent"
    _, low, high = estimate.interval()
    if np.isnan(low) or low <= 0 <= high:
        return "undecided"
    less_is: Word = "better" if more_is == "worse" else "worse"
    return more_is if low > 0 else less_is


def together(*words: Word) -> Word:
    """One word for several: worse if one is, and equivalent or better only if none is undecided."""
    if "worse" in words:
        return "worse"
    if "undecided" in words:
        return "undecided"
    return "better" if "better" in words else "equivalent"
