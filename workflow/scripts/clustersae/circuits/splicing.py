"""The stream of one layer with the nodes of a circuit kept and all others replaced.

The stream x that arrives has already been changed by the earlier layers. Its latents z and its
error e = x − Σ_j z_j r_j − b are those of *this* x (Marks et al. 2024), so what a circuit keeps is
what the circuit itself computes. Nothing of the clean run enters but through the nodes before.

    x' = Σ_{j ∈ C} z_j r_j + Σ_{j ∉ C} a_j r_j + b + (e if the error is in C, else its stand-in)

With the error kept this is x + Σ_{j ∉ C} (a_j − z_j) r_j, so a circuit of all nodes gives back x
itself, to the bit.
"""

import torch

from clustersae.circuits.ablation import StandIn
from clustersae.circuits.dictionaries import Dictionary
from clustersae.circuits.nodes import Circuits
from clustersae.sae.module import Latents


def spliced(
    x: torch.Tensor,
    latents: Latents,
    dictionary: Dictionary,
    circuits: Circuits,
    ranks: torch.Tensor,
    error_kept: torch.Tensor,
    values: StandIn,
    of_all: torch.Tensor | None,
) -> torch.Tensor:
    """x' for S circuits and P prompts at once, float32 [S, P, n_positions, d_model].

    Args:
        x: [S or 1, P, n_positions, d_model], and `latents`, its encoding.
        ranks: int64 [n_latents] of this layer's latents.
        error_kept: bool [S].
        values: for these prompts.
        of_all: `values.of_all(dictionary, circuits, ranks)`.
    """
    error_kept = error_kept.view(-1, 1, 1, 1)
    kept = circuits.hold(ranks[latents.indices]).to(latents.values.dtype)
    # Where the error is kept, start from x and take away what is outside; else add what is inside.
    weights = kept - error_kept.to(kept.dtype)
    indices = latents.indices.expand(weights.shape)
    amounts = latents.values * weights
    if values.drawn is not None:
        outside = ~circuits.hold(ranks[values.drawn.indices].unsqueeze(0))
        indices = torch.cat([indices, values.drawn.indices.expand(outside.shape)], -1)
        amounts = torch.cat([amounts, values.drawn.values * outside], -1)
    changed = torch.where(error_kept, x.float(), values.rest)
    changed = changed + dictionary.combine(Latents(indices, amounts))
    return changed if of_all is None else changed + of_all.unsqueeze(1)
