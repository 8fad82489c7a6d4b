"""What k-sparse probes say, in words."""

import numpy as np
import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.arms import full_label, spoken_of
from clustersae.presentation.findings import Findings
from clustersae.probing.table import EVERY_LABEL


def line(found: Findings) -> str:
    """Nothing: fifteen lines have no room for it; figure and long form say it."""
    return ""


def paragraph(found: Findings) -> str:
    """Accuracy of probes of one latent and of the most, for the arms that texts speak of."""
    table = found.tables["probing"]
    table = table[table["label"] == EVERY_LABEL]
    if table.empty:
        return ""
    rows = table.set_index(["arm", "k"])
    sizes = sorted(set(table["k"]))
    first = rows.loc[PER_LAYER].loc[sizes[0]]
    parts = [_arm("full per-layer SAEs", rows.loc[PER_LAYER], sizes)]
    arms = spoken_of(found.tables["arms"], set(table["arm"]))
    parts += [_arm(full_label(arm), rows.loc[name], sizes) for name, arm in arms.iterrows()]
    return (
        f"A logistic regression on {_latents(sizes)} of a layer tells {first['n_labels']:.0f}"
        f" labels of held-out tokens with a mean accuracy of {'; '.join(parts)}. On whole"
        f" activations it is {first['accuracy_activations']:.3f}, by always saying the same"
        f" {first['majority']:.1f}. Differences from full per-layer SAEs stand in square brackets"
        " with their 95 % intervals."
    )


def _latents(sizes: list[int]) -> str:
    numbers = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}" if sizes[1:] else str(sizes[0])
    return f"the {numbers} most separating latents"


def _arm(name: str, rows: pd.DataFrame, sizes: list[int]) -> str:
    return f"{', '.join(_accuracy(rows.loc[k]) for k in sizes)} with {name}"


def _accuracy(row: pd.Series) -> str:
    """An accuracy and, in brackets, how it differs from the baseline's and whether that is told."""
    value, low, high = (row[f"accuracy_vs_baseline{end}"] for end in ("", "_low", "_high"))
    if np.isnan(value):
        return f"{row['accuracy']:.3f}"
    if np.isnan(low):
        return f"{row['accuracy']:.3f} [{_signed(value)}, without an interval]"
    word = "undecided" if low <= 0 <= high else "better" if low > 0 else "worse"
    ends = f"{_signed(low)} to {_signed(high)}"
    return f"{row['accuracy']:.3f} [{_signed(value)}, {ends}: {word}]"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
