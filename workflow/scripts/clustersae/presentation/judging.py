"""What arms are compared and chosen by: whose training is alike, and what counts as their loss."""

from typing import overload

import pandas as pd

#: Training differs if it does by this part or more: variants are fractions of whole numbers up to
#: 1000, so that arms of one budget do not spend exactly the same.
_SAME = 0.01


@overload
def same_training(own: float, other: float) -> bool: ...
@overload
def same_training(own: pd.Series, other: float | pd.Series) -> pd.Series: ...
def same_training(own: float | pd.Series, other: float | pd.Series) -> bool | pd.Series:
    """Whether two arms were trained alike long, given their matched counts."""
    return abs(own / other - 1) < _SAME


def judged_excess(arm: pd.Series, column: str = "excess_fvu_worst") -> float:
    """The excess FVU that an arm is chosen by: on the validation split, where there is one.

    Args:
        arm: a row of `tables/arms.csv`.
        column: that of the test split.
    """
    validation = arm[f"{column}_validation"]
    return float(arm[column] if pd.isna(validation) else validation)
