"""How well few latents of every arm tell labels of tokens."""

from collections.abc import Sequence

import pandas as pd

from clustersae.experiment.plan import Plan
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_files
from clustersae.probing.table import ACTIVATIONS, PROBES, probing_table


def tables(plan: Plan, probes: Sequence[str], activations: str) -> dict[str, pd.DataFrame]:
    """From what `evaluate_probing.py` wrote of every measured arm, and of the activations."""
    arms = plan.coded_arms
    rows = of_every_arm(read_files(probes, PROBES), arms)
    return {"probing": probing_table(arms, rows, read_files([activations], ACTIVATIONS))}
