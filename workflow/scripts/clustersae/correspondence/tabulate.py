"""How far the latents of each specialised arm correspond."""

from collections.abc import Sequence

import pandas as pd

from clustersae.correspondence.table import CORRESPONDENCE, correspondence_table
from clustersae.experiment.plan import Plan
from clustersae.presentation.tables import read_files


def tables(plan: Plan, correspondence: Sequence[str]) -> dict[str, pd.DataFrame]:
    """From what `evaluate_correspondence.py` wrote of the specialised arms and of per-layer."""
    rows = read_files(correspondence, CORRESPONDENCE)
    return {"correspondence": correspondence_table(plan.arms, rows)}
