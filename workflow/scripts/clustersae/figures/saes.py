"""Which SAEs an arm of the tables is made of, so that their own tables can be joined."""

import pandas as pd

from clustersae.arms import with_ancestors
from clustersae.clusters import FROM, layers_of
from clustersae.sae.variants import BASE, EQUAL_EXPOSURE, scaled_variant, share_of


def saes_of_arm(quality: pd.DataFrame, arm: str) -> list[tuple[str, str]]:
    """(variant, name) of each SAE that serves a layer in the arm.

    `layer_quality.csv` has the arm's variant in every row. An SAE that another arm trained, or that
    went more steps down the tree than others, has a variant of its own.
    """
    rows = quality.loc[quality["arm"] == arm, ["variant", "cluster"]].drop_duplicates()
    return [(_own_variant(variant, name), name) for variant, name in rows.to_numpy()]


def ancestors(saes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The SAEs that `saes` were trained on from, each once."""
    return [sae for sae in with_ancestors(saes) if sae not in saes]


def rows_of(frame: pd.DataFrame, saes: list[tuple[str, str]]) -> pd.DataFrame:
    """The rows of a frame with columns variant and cluster that belong to `saes`."""
    return frame.merge(pd.DataFrame(saes, columns=["variant", "cluster"]))


def _own_variant(variant: str, name: str) -> str:
    if variant == EQUAL_EXPOSURE:
        return variant if len(layers_of(name)) > 1 else BASE
    if FROM not in variant:
        return variant
    below, root = variant.split(FROM)
    steps = name.count(FROM)
    if steps:
        return FROM.join([below] * steps + [root])
    # A root that is a single layer gets both trainings in one.
    shares = [1 if each == BASE else share_of(each) for each in (below, root)]
    return scaled_variant("tokens", sum(shares))
