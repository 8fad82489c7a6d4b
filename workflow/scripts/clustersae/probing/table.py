"""k-sparse probes of every arm: means over layers and labels per seed, and over seeds.

`accuracy` is balanced: 0.5 is what always saying the same has (`majority`), `accuracy_activations`
what a probe of the whole activation has. Differences (`*_vs_baseline`) from the full per-layer
SAEs are paired by layer, label and seed; intervals are Student's t over seeds.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from clustersae.experiment.arms import Arm, baseline
from clustersae.presentation.arms import arm_columns
from clustersae.presentation.tables import Format
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import cells, over_seeds

_VALUES = ("n_train", "n_test", "accuracy", "f1")
PROBES = Format(("variant", "partition", "seed", "label", "layer", "k"), _VALUES)
#: Of whole activations, which have neither arm nor seed.
ACTIVATIONS = Format(("label", "layer"), _VALUES)

#: Of a row over all labels.
EVERY_LABEL = "all"
MEASURES = ("accuracy", "f1")
_PLACE = ["label", "layer", "k"]
#: Balanced classes.
_MAJORITY = 0.5
COLUMNS = [
    *("arm", "partition", "variant", "method", "role", "count", "matched_count"),
    *("label", "k", "n_labels", "n_layers", "n_seeds", "n_test", "majority"),
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high", "_activations")),
    *(f"{name}_vs_baseline{end}" for name in MEASURES for end in ("", "_low", "_high")),
]


def probing_table(
    arms: Sequence[Arm], measured: pd.DataFrame, activations: pd.DataFrame
) -> pd.DataFrame:
    """One row per arm, number of latents k, and label; label `all` is the mean over labels.

    Args:
        arms: those of the experiment.
        measured: rows in the format PROBES, of every arm.
        activations: rows in the format ACTIVATIONS.

    Raises:
        InputError: an arm was probed with other seeds, layers or labels than the per-layer SAEs.
    """
    whole = activations.groupby("label")[list(MEASURES)].mean()
    whole.loc[EVERY_LABEL] = whole.mean()
    first = _wide(measured, baseline(arms))
    rows: list[dict[str, Any]] = []
    for arm in arms:
        own = _wide(measured, arm)
        if not (own.index.equals(first.index) and own.columns.equals(first.columns)):
            raise InputError(
                f"{arm.name} and the per-layer SAEs were probed for other labels, layers or seeds:"
                " delete the files of both below evaluation/probing and run again."
            )
        for k, of_k in own.groupby("k"):
            parts = [(EVERY_LABEL, of_k), *of_k.groupby("label")]
            for label, part in parts:
                difference = part - first.loc[part.index]
                row = arm_columns(arm) | {"label": label, "k": k} | _counts(part)
                for name in MEASURES:
                    row |= cells(name, over_seeds(part[name].mean().to_numpy()).interval())
                    row[f"{name}_activations"] = whole.loc[label, name]
                    if arm.role != "baseline":
                        estimate = over_seeds(difference[name].mean().to_numpy())
                        row |= cells(f"{name}_vs_baseline", estimate.interval())
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _wide(measured: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Rows by label, layer and k; columns by measure and seed."""
    own = (measured["variant"] == arm.variant) & (measured["partition"] == arm.partition)
    values = [*MEASURES, "n_test"]
    return measured[own].pivot(index=_PLACE, columns="seed", values=values)


def _counts(part: pd.DataFrame) -> dict[str, Any]:
    places = part.index
    return {
        "n_labels": places.get_level_values("label").nunique(),
        "n_layers": places.get_level_values("layer").nunique(),
        "n_seeds": part["n_test"].shape[1],
        "n_test": float(part["n_test"].mean(axis=None)),
        "majority": _MAJORITY,
    }
