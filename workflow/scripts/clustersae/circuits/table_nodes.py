"""What circuits are made of, and how well estimated effects of nodes stand for exact ones."""

import numpy as np
import pandas as pd

#: What names a row, and what `found_nodes` adds to it.
_KEYS = ("task", "variant", "partition")
_FOUND = (
    *("error_share", "agreement", "rank_agreement", "agreement_errors"),
    *("n_checked", "n_checked_errors"),
)
#: Fewer points than this have no correlation worth a number.
_LEAST = 3


def found_nodes(nodes: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """One row per task and arm, of means over seeds (correlations: over the seeds that have one).

        error_share       of the first nodes, as many as layers, those that are errors
        agreement         Pearson's correlation of estimated with exact effects of latents
        rank_agreement    Spearman's, of latents: Pearson's of the ranks
        agreement_errors  Pearson's, of errors, whose effects are often of another size
        n_checked, n_checked_errors    latents and errors whose exact effects are known

    Args:
        nodes: rows in the format NODES; errors have no `latent`, unchecked nodes no `exact`.
    """
    rows = []
    for key, group in nodes.groupby(list(_KEYS), sort=False):
        by_seed = pd.DataFrame([_of_seed(own, n_layers) for _, own in group.groupby("seed")])
        rows.append({**dict(zip(_KEYS, key)), **by_seed.mean()})
    return pd.DataFrame(rows, columns=[*_KEYS, *_FOUND])


def _of_seed(nodes: pd.DataFrame, n_layers: int) -> dict[str, float]:
    checked = nodes[nodes["exact"].notna()]
    is_error = checked["latent"].isna()
    effects = checked[["effect", "exact"]]
    latents, errors = effects[~is_error], effects[is_error]
    return {
        "error_share": nodes.loc[nodes["rank"] < n_layers, "latent"].isna().mean(),
        "agreement": _correlation(latents),
        "rank_agreement": _correlation(latents.rank()),
        "agreement_errors": _correlation(errors),
        "n_checked": len(latents),
        "n_checked_errors": len(errors),
    }


def _correlation(rows: pd.DataFrame) -> float:
    """Pearson's correlation of `effect` with `exact`; NaN of few rows or of equal ones."""
    if len(rows) < _LEAST or (rows.nunique() < 2).any():
        return np.nan
    return float(np.corrcoef(rows["effect"], rows["exact"])[0, 1])
