"""Whether an SAE writes the directions that a per-layer SAE does.

    mean max cosine   of every live latent's decoder row to the nearest live one of the other SAE
                      (Sharkey et al. 2022), averaged
    matched cosine    over the pairs of a one-to-one matching, as many as the smaller side has

A number alone says little: two trainings from different seeds do not agree either (the ceiling;
Paulo & Belrose 2025, arXiv:2501.16615), and random directions find near ones as well (the floor).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clustersae.latents.matching import HUNGARIAN_LIMIT, assign

SIMILARITY_COLUMNS = (
    *("layer", "kind", "other_seed"),
    *("mean_max_cosine", "matched_cosine", "matching", "n_latents"),
)


def similarity_rows(
    arm: torch.Tensor,
    own: torch.Tensor,
    other: torch.Tensor,
    generator: np.random.Generator,
    limit: int = HUNGARIAN_LIMIT,
) -> list[dict[str, Any]]:
    """An arm's SAE (`arm`) beside the per-layer SAE of another seed, with ceiling and floor.

    Args:
        arm: decoder rows of live latents [n_arm, d_model] of the arm's SAE, of unit norm.
        own, other: those of the per-layer SAEs of the same seed and of the other one.
        generator: of the floor: as many random directions as `arm` has.
    """
    random = torch.from_numpy(generator.standard_normal(arm.shape, dtype=np.float32))
    floor = F.normalize(random, dim=1).to(arm.device)
    kinds = {"arm": arm, "ceiling": own, "floor": floor}
    return [{"kind": kind} | compare(rows, other, limit) for kind, rows in kinds.items()]


def compare(rows: torch.Tensor, others: torch.Tensor, limit: int) -> dict[str, Any]:
    """Cosines of unit `rows` [n, d_model] to `others` [m, d_model]; NaN if either has none."""
    cosines = (rows @ others.T).cpu().numpy()
    own, other, matching = assign(cosines, limit)
    nearest, pairs = (cosines.max(1), cosines[own, other]) if cosines.size else (np.nan, np.nan)
    return {
        "mean_max_cosine": float(np.mean(nearest)),
        "matched_cosine": float(np.mean(pairs)),
        "matching": matching,
        "n_latents": len(rows),
    }
