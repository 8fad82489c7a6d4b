"""∂m/∂x of the language model alone, at the clean prompt or on the way to the corrupted one.

The integral over the way of a layer costs one pass forward and one back per point, both through
the blocks *after* that layer alone: those before it would give what is known already.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from clustersae.circuits.pairs import Pairs, last_logits_only, logit_difference, vocabulary_size
from clustersae.models.residual import ResidualStream

#: `attribution`: the gradient at the clean prompt (attribution patching, Nanda 2023).
#: `integrated`: its mean between clean and corrupted, as Marks et al. (2024, eq. 3) take it, at
#: points evenly spaced. `gauss`: the same mean by Gauss and Legendre's rule, at fewer points.
Method = Literal["attribution", "integrated", "gauss"]

#: Points at which the gradient is taken. Ten are the steps of Marks et al.
POINTS: dict[Method, int] = {"integrated": 10, "gauss": 4}

#: Numbers that a block keeps for its gradient, per token and dimension of the stream: roughly 4
#: for the attention, 2·4 for the MLP, and the norms, sums and copies.
KEPT_PER_BLOCK = 24


def points_of(method: Method, n_points: int) -> tuple[list[float], list[float]]:
    """Places between 0 (clean) and 1 (corrupted), and the weights of a mean over them.

    Evenly spaced points lie in the middle of steps, which is exact where m is quadratic in x (at
    the left ends it would be exact only where m is linear). Gauss and Legendre's rule is exact for
    m of degree 2 · n_points.
    """
    if method == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(n_points)
        return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
    return [(step + 0.5) / n_points for step in range(n_points)], [1 / n_points] * n_points


def rows_at_once(stream: ResidualStream, n_tokens: int, n_blocks: int, max_entries: int) -> int:
    """Prompts whose pass through `n_blocks` with a gradient fits into `max_entries` numbers."""
    d_model = stream.model.get_input_embeddings().get_parameter("weight").shape[1]
    per_token = KEPT_PER_BLOCK * n_blocks * d_model
    return max(1, max_entries // (n_tokens * per_token + vocabulary_size(stream)))


def at_clean(
    stream: ResidualStream, pairs: Pairs, layers: Sequence[int]
) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor], torch.Tensor]:
    """Streams, ∂m/∂x of each layer from one backward pass, and m [n_pairs]."""
    streams: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        # The first stream becomes the leaf that the others depend on.
        streams.append(x if streams else x.detach().requires_grad_())
        return streams[-1]

    with (
        torch.enable_grad(),
        last_logits_only(stream),
        stream.replaced(dict.fromkeys(layers, keep)),
    ):
        metric = logit_difference(stream.forward(pairs.clean), pairs)
        gradients = torch.autograd.grad(metric.sum(), streams)
    clean = {layer: x.detach() for layer, x in zip(layers, streams)}
    return clean, dict(zip(layers, gradients)), metric.detach()


def on_the_way(
    stream: ResidualStream,
    pairs: Pairs,
    clean: Mapping[int, torch.Tensor],
    corrupted: Mapping[int, torch.Tensor],
    method: Method,
    n_points: int,
    max_entries: int,
) -> dict[int, torch.Tensor]:
    """Mean of ∂m/∂x while one layer's stream goes from clean to corrupted; later layers follow.

    Args:
        clean, corrupted: layer → stream [n_pairs, n_tokens, d_model].
    """
    places, weights = points_of(method, n_points)
    found = {}
    for layer, x in clean.items():
        move = corrupted[layer] - x
        on = torch.tensor([places, weights], dtype=x.dtype, device=x.device)
        n_rows = rows_at_once(stream, pairs.n_tokens, stream.n_layers - 1 - layer, max_entries)
        total = torch.zeros_like(x)
        n_places = max(1, n_rows // len(x))
        for place, weight in on.view(2, -1, 1, 1, 1).split(n_places, dim=1):
            path = (x + place * move).flatten(0, 1).requires_grad_()
            tokens = pairs.clean.repeat(len(place), 1)
            with last_logits_only(stream):
                logits = stream.logits_from(layer, path, tokens, with_gradient=True)
            metric = logit_difference(logits, pairs).sum()
            (gradient,) = torch.autograd.grad(metric, path)
            total += (weight * gradient.unflatten(0, (len(place), -1))).sum(0)
        found[layer] = total
    return found
