"""Circuits that nobody found: what a circuit of equal size gives by chance.

The other control, the residual stream's own basis, is `dictionaries.residual_basis`.
"""

import torch


def random_scores(effects: torch.Tensor, seed: int) -> torch.Tensor:
    """Scores [n_nodes] that rank the nodes at random, those with an effect first.

    Most latents of an SAE never fire on the prompts of a task. Drawn from all of them a random
    circuit would be empty for most purposes, and beating it no merit.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(effects.shape, generator=generator, dtype=torch.float64)
    return scores.to(effects.device) + (effects != 0)
