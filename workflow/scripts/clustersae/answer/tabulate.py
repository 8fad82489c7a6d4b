"""Quality and cost of every arm side by side, for the summary figure."""

from collections.abc import Sequence

import pandas as pd

from clustersae.answer.summary import summary_table
from clustersae.presentation.tables import read_file


def tables(arms: str, cost: str, beside: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`beside`: tables that questions add, with one row per arm."""
    added = [read_file(path) for path in beside]
    return {"summary": summary_table(read_file(arms), read_file(cost), added)}
