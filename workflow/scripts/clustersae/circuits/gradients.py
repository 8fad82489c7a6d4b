"""∂m/∂x of the language model alone, at the clean prompt or on the way to the corrupted one.

The integral over the way of a layer costs one pass forward and one back per step, both through the
blocks *after* that layer alone, and through the tokens from the first that differs on: all before
is known already.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from clustersae.circuits.pairs import Pairs, last_logits_only, logit_difference
from clustersae.circuits.prefix import Prefix
from clustersae.models.residual import ResidualStream

#: `attribution`: the gradient at the clean prompt (attribution patching, Nanda 2023).
#: `integrated`: its mean between clean and corrupted (Marks et al. 2024, eq. 3).
Method = Literal["attribution", "integrated"]

#: Steps of the integral, as Marks et al. take them. Half of them, or a few points of Gauss and
#: Legendre, are not enough for the first layers of a real model, where m changes suddenly halfway.
STEPS = 10

#: Numbers that a block keeps for its gradient, per token and dimension of the stream: roughly 4
#: for the attention, 2·4 for the MLP, and the norms, sums and copies.
KEPT_PER_BLOCK = 24


def rows_at_once(stream: ResidualStream, n_tokens: int, n_blocks: int, max_entries: int) -> int:
    """Prompts whose pass through `n_blocks` with a gradient fits into `max_entries` numbers."""
    d_model = stream.model.get_input_embeddings().get_parameter("weight").shape[1]
    per_token = KEPT_PER_BLOCK * n_blocks * d_model
    return max(1, max_entries // (n_tokens * per_token + stream.vocab_size))


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
    prefix: Prefix,
    clean: Mapping[int, torch.Tensor],
    corrupted: Mapping[int, torch.Tensor],
    steps: int,
    max_entries: int,
) -> dict[int, torch.Tensor]:
    """Mean of ∂m/∂x while one layer's stream goes from clean to corrupted; later layers follow.

    The gradient is taken in the middle of each step, which is exact where m is quadratic in x (at
    the left ends it would be exact only where m is linear). It is left at zero in the prefix, where
    there is no way to go.

    Args:
        clean, corrupted: layer → stream [n_pairs, n_tokens, d_model].
    """
    stream, shared = prefix.stream, prefix.n_tokens
    found = {}
    for layer, whole in clean.items():
        x = whole[:, shared:]
        move = corrupted[layer][:, shared:] - x
        middles = (torch.arange(steps, device=x.device) + 0.5) / steps
        n_rows = rows_at_once(stream, x.shape[1], stream.n_layers - 1 - layer, max_entries)
        total = torch.zeros_like(x)
        for part in middles.to(x.dtype).split(max(1, n_rows // len(x))):
            path = (x + part.view(-1, 1, 1, 1) * move).flatten(0, 1).requires_grad_()
            metric = prefix.metric(layer, path, with_gradient=True)
            (gradient,) = torch.autograd.grad(metric.sum(), path)
            total += gradient.unflatten(0, (len(part), -1)).sum(0)
        found[layer] = torch.cat([torch.zeros_like(whole[:, :shared]), total / steps], 1)
    return found
