"""Which SAEs an arm of the tables is made of, so that their own tables can be joined."""

import pandas as pd

from clustersae.experiment.arms import with_ancestors


def saes_of_arm(quality: pd.DataFrame, arm: str) -> list[tuple[str, str]]:
    """(variant, name) of each SAE that serves a layer in the arm, from `layer_quality.csv`."""
    rows = quality.loc[quality["arm"] == arm, ["sae_variant", "cluster"]].drop_duplicates()
    return list(rows.itertuples(index=False, name=None))


def ancestors(saes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The SAEs that `saes` were trained on from, each once."""
    return [sae for sae in with_ancestors(saes) if sae not in saes]


def rows_of(frame: pd.DataFrame, saes: list[tuple[str, str]]) -> pd.DataFrame:
    """The rows of a frame with columns variant and cluster that belong to `saes`."""
    return frame.merge(pd.DataFrame(saes, columns=["variant", "cluster"]))
