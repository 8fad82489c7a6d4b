"""Training histories and latent densities of all SAEs, each in one table."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clustersae.presentation.tables import DENSITY, HISTORY, read_files
from clustersae.runtime.errors import InputError

_HISTORY = re.compile(r"saes/(?P<variant>[^/]+)/(?P<cluster>[^/]+)/seed-(?P<seed>\d+)/history\.csv")


def training_table(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Histories below one another, named by variant, cluster and seed.

    Args:
        paths: `.../saes/{variant}/{cluster}/seed-{seed}/history.csv`; the path names the SAE.
    """
    parts = []
    for path in paths:
        match = _HISTORY.search(Path(path).as_posix())
        if not match:
            raise InputError(
                f"{path} is not the history of an SAE (saes/VARIANT/CLUSTER/seed-SEED/history.csv)."
            )
        history = read_files([path], HISTORY)
        names = {"variant": match["variant"], "cluster": match["cluster"]}
        parts.append(history.assign(**names, seed=int(match["seed"])))
    columns = ["variant", "cluster", "seed", *HISTORY.key, *HISTORY.values]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def density_table(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Histograms of the firing density of latents, below one another.

    A row of kind `live` counts the latents whose log10 density lies between its ends; the row of
    kind `dead` counts those that never fired and has no ends.
    """
    table = read_files(paths, DENSITY)
    wrong = table[~table["kind"].isin(["live", "dead"])]
    if len(wrong):
        raise InputError(
            f"A density row is live or dead, not {wrong.iloc[0]['kind']!r} (cluster"
            f" {wrong.iloc[0]['cluster']})."
        )
    ends = ["log10_density_low", "log10_density_high"]
    if table.loc[table["kind"] == "live", ends].isna().any(axis=None):
        raise InputError("A density row of kind live lacks the ends of its bin.")
    return table
