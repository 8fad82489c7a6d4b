"""What a question's text is written from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd


class Findings(NamedTuple):
    """All that was measured of one model.

    Attributes:
        tables: by the names of their files: `arms`, `comparisons`, `features`, ...; none of a
            question that was not asked.
        partitions: the same of `partitions.json`: which layers share an SAE.
        margins: largest excess FVU that arms are chosen by (mean, worst).
        options: what questions are told beside, as the mode of circuits that is spoken of.
    """

    tables: Mapping[str, pd.DataFrame]
    partitions: Mapping[str, Mapping[str, Any]]
    margins: Mapping[str, float]
    options: Mapping[str, Any]
