"""Verdicts of tables written by hand: what tests of the answer and of its sentences begin with."""

from typing import Any

import numpy as np
import pandas as pd
from synthetic_results import stream_row
from written_findings import MARGINS, arm, comparisons

from clustersae.answer import verdict
from clustersae.circuits import text as circuits_text
from clustersae.features import text as features_text
from clustersae.presentation.findings import Findings
from clustersae.quality import stream, text
from clustersae.quality.choice import marked
from clustersae.quality.pairs import Words

QUESTIONS = {
    "Quality and cost": text,
    "Which tokens count": stream,
    "Circuits": circuits_text,
    "Features": features_text,
}
PARTITIONS = {"complete-3": {"clusters": ["0-1", "2-3", "4"]}}
FULL = ("per-layer", "baseline", 5)
HALF = ("per-layer (tokens-1of2)", "equal-compute", 2.5)
ONE = ("per-layer@single (tokens-1of4@tokens-5of4)", "specialised", 2.5)
THREE = ("per-layer@complete-3 (tokens-2of5@tokens-1of5)", "specialised", 3)
SHARED = ("complete-3", "main", 3)


def findings(*rows: dict[str, Any]) -> Findings:
    unmarked = pd.DataFrame([arm(FULL, 0.0, 0.0), *rows])
    excess = unmarked.set_index("arm")[["excess_fvu", "excess_fvu_worst"]]

    def words(name: str, other: str) -> Words:
        own, rival = excess.loc[name], excess.loc[other]
        more, less = (own > rival).tolist(), (own < rival).tolist()
        mean, worst = (
            "worse" if more[i] else "better" if less[i] else "equivalent" for i in range(2)
        )
        return Words(mean, worst)

    arms = marked(unmarked, MARGINS, words)
    features = pd.DataFrame(
        {"arm": arms["arm"], "layers_served": 1, "coverage": np.nan, "share_pairs_kept": np.nan}
    )
    tables = {"arms": arms, "comparisons": comparisons(arms), "features": features}
    tables["feature_coverage"] = pd.DataFrame(columns=["arm"])
    fvus = {f"per_layer_{name}": 0.2 for name in ("fvu", "fvu_all_tokens", "fvu_standardised")}
    tables["stream"] = pd.DataFrame([stream_row(layer) | fvus for layer in range(5)])
    return Findings(tables, PARTITIONS, MARGINS, {"errors": "ablated", "ablation": "mean"})


def lines(found: Findings) -> list[str]:
    return verdict.short(found, QUESTIONS).text().splitlines()


def long(found: Findings) -> str:
    return " ".join(verdict.long(found, QUESTIONS).split())
