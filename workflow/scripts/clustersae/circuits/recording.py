"""What the language model alone does on pairs of prompts; no SAE is needed.

**Why no SAE is needed for the gradients.** Write the stream of one layer as x = Σ_j z_j r_j + b + e
with latents z, decoder rows r and error e. Its parts add up to x whatever the SAE, so the model
computes what it always does, and setting a part to another value moves x by the difference:

    ∂m/∂z_j = r_j · ∂m/∂x,   ∂m/∂e = ∂m/∂x,

with the gradient of the plain model, which takes every path from x to m exactly once. (Sending the
gradient through the encoder as well counts each path again at every later layer: the latents and
the error of a layer depend on x, but their dependences cancel, since they sum to x.) The effect of
a node is thus its *total* effect: through later nodes, and around them through later errors.

Integrated gradients go from the clean values of all nodes of one layer to their corrupted values;
the sum of the nodes goes from the clean to the corrupted stream on a straight line, again whatever
the SAE. So the gradients of a model and a task are taken once and serve every SAE.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch

from clustersae.circuits.pairs import (
    Pairs,
    check_pairs,
    device_of,
    last_logits_only,
    logit_difference,
    vocabulary_size,
)
from clustersae.models.residual import Change, ResidualStream

#: `attribution`: the gradient at the clean prompt (attribution patching, Nanda 2023).
#: `integrated`: its mean between clean and corrupted (Marks et al. 2024, eq. 3).
Method = Literal["attribution", "integrated"]

#: Steps of the integral, as Marks et al. take them.
STEPS = 10

#: Numbers held at once by a pass with a gradient or a batch of circuits (256 MB in float32).
MAX_ENTRIES = 2**26

#: Numbers that a block keeps for its gradient, per token and dimension of the stream: roughly 4
#: for the attention, 2·4 for the MLP, and the norms, sums and copies.
KEPT_PER_BLOCK = 24


class Recording(NamedTuple):
    """The model on pairs of training prompts. Streams are those after every block."""

    pairs: Pairs
    clean: list[torch.Tensor]  # per layer [n_pairs, n_tokens, d_model]
    corrupted: list[torch.Tensor]
    gradients: list[torch.Tensor]  # ∂m/∂x, same shapes; the answer stays that of the clean prompt
    clean_metric: torch.Tensor  # [n_pairs]
    corrupted_metric: torch.Tensor  # [n_pairs]


class CleanRun(NamedTuple):
    """The model on clean test prompts."""

    pairs: Pairs
    layer: int
    x: torch.Tensor  # [n_pairs, n_tokens, d_model], the stream after `layer`
    metric: torch.Tensor  # [n_pairs], m(M)


def first_position(stream: ResidualStream, layer: int, pairs: Pairs) -> int:
    """The position from which on the stream of a layer is taken apart.

    After the last block only the last position reaches m.
    """
    return pairs.n_tokens - 1 if layer == stream.n_layers - 1 else pairs.first


def run_clean(
    stream: ResidualStream, pairs: Pairs, layer: int = 0, max_entries: int = MAX_ENTRIES
) -> CleanRun:
    """m(M) on the clean prompts, and the stream after the first layer that is taken apart."""
    check_pairs(pairs)
    pairs = pairs.to(device_of(stream))
    streams: list[torch.Tensor] = []
    metrics = []
    for part in _parts(stream, pairs, max_entries):
        with last_logits_only(stream), stream.replaced({layer: streams.append}):
            metrics.append(logit_difference(stream.logits(part.clean), part))
    return CleanRun(pairs, layer, torch.cat(streams), torch.cat(metrics))


def record(
    stream: ResidualStream,
    pairs: Pairs,
    method: Method = "integrated",
    steps: int = STEPS,
    max_entries: int = MAX_ENTRIES,
) -> Recording:
    """Run the model on both prompts of every pair, and take the gradients.

    The recording holds 3 · n_layers · n_pairs · n_tokens · d_model numbers.

    Args:
        steps: of the integral; the gradient is taken in the middle of each, which is exact where m
            is quadratic in x (at the left ends it would be exact only where m is linear).
    """
    check_pairs(pairs)
    pairs = pairs.to(device_of(stream))
    parts = [
        _record_part(stream, part, method, steps, max_entries)
        for part in _parts(stream, pairs, max_entries)
    ]
    *streams, clean_metric, corrupted_metric = zip(*parts)
    clean, corrupted, gradients = (
        [torch.cat(layer) for layer in zip(*column)] for column in streams
    )
    return Recording(
        pairs, clean, corrupted, gradients, torch.cat(clean_metric), torch.cat(corrupted_metric)
    )


def _record_part(
    stream: ResidualStream, pairs: Pairs, method: Method, steps: int, max_entries: int
) -> tuple:
    """Clean streams, corrupted streams, gradients, clean and corrupted metric."""
    with last_logits_only(stream):
        clean, gradients, clean_metric = _gradients_at_clean(stream, pairs)
        logits, corrupted = stream.logits_and_streams(pairs.corrupted)
    if method == "integrated":
        gradients = [
            _integrated(stream, pairs, layer, *ends, steps, max_entries)
            for layer, ends in enumerate(zip(clean, corrupted))
        ]
    return clean, corrupted, gradients, clean_metric, logit_difference(logits, pairs)


def _gradients_at_clean(stream: ResidualStream, pairs: Pairs) -> tuple:
    """Streams, ∂m/∂x at all layers from one backward pass, and m."""
    streams: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        # The first stream becomes the leaf that the others depend on.
        streams.append(x if streams else x.detach().requires_grad_())
        return streams[-1]

    with torch.enable_grad(), stream.replaced(dict.fromkeys(range(stream.n_layers), keep)):
        metric = logit_difference(_logits(stream, pairs.clean), pairs)
        gradients = torch.autograd.grad(metric.sum(), streams)
    return [x.detach() for x in streams], list(gradients), metric.detach()


def _integrated(
    stream: ResidualStream,
    pairs: Pairs,
    layer: int,
    clean: torch.Tensor,
    corrupted: torch.Tensor,
    steps: int,
    max_entries: int,
) -> torch.Tensor:
    """Mean of ∂m/∂x while this layer's stream goes from clean to corrupted; later layers follow."""
    device = clean.device
    total = torch.zeros_like(clean)
    middles = (torch.arange(steps, device=device) + 0.5) / steps
    n_steps = max(1, _rows(stream, pairs, max_entries) // len(clean))
    for part in middles.to(clean.dtype).split(n_steps):
        path = clean + part.view(-1, 1, 1, 1) * (corrupted - clean)
        path = path.flatten(0, 1).requires_grad_()
        with torch.enable_grad(), last_logits_only(stream), stream.replaced({layer: _put(path)}):
            logits = _logits(stream, pairs.clean.repeat(len(part), 1))
            (gradient,) = torch.autograd.grad(logit_difference(logits, pairs).sum(), path)
        total += gradient.unflatten(0, (len(part), -1)).sum(0)
    return total / steps


def _put(x: torch.Tensor) -> Change:
    """The change of a stream into `x`."""
    return lambda _: x


def _logits(stream: ResidualStream, tokens: torch.Tensor) -> torch.Tensor:
    """`ResidualStream.logits`, which takes no gradient."""
    return stream.model(input_ids=tokens, use_cache=False).logits


def _rows(stream: ResidualStream, pairs: Pairs, max_entries: int) -> int:
    """Prompts whose pass with a gradient fits into `max_entries` numbers."""
    d_model = stream.model.get_input_embeddings().get_parameter("weight").shape[1]
    per_token = KEPT_PER_BLOCK * stream.n_layers * d_model
    return max(1, max_entries // (pairs.n_tokens * per_token + vocabulary_size(stream)))


def _parts(stream: ResidualStream, pairs: Pairs, max_entries: int) -> Iterator[Pairs]:
    rows = _rows(stream, pairs, max_entries)
    for start in range(0, len(pairs.clean), rows):
        yield pairs.rows(start, start + rows)
