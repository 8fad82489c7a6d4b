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

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from clustersae.activations.mask import NormLimits
from clustersae.circuits import masking
from clustersae.circuits.gradients import STEPS, Method, at_clean, on_the_way, rows_at_once
from clustersae.circuits.pairs import (
    Pairs,
    check_pairs,
    device_of,
    last_logits_only,
    logit_difference,
)
from clustersae.circuits.prefix import shared_prefix
from clustersae.models.residual import ResidualStream

#: Numbers held at once by a pass with a gradient or a batch of circuits (256 MB in float32).
MAX_ENTRIES = 2**26


class Recording(NamedTuple):
    """The model on pairs of training prompts. Streams are those after the block of a layer."""

    pairs: Pairs
    clean: Mapping[int, torch.Tensor]  # layer → [n_pairs, n_tokens, d_model]
    corrupted: Mapping[int, torch.Tensor]
    gradients: Mapping[int, torch.Tensor]
    """∂m/∂x; the answer stays that of the clean prompt. Integrated ones are zero where prompts do
    not differ yet."""
    clean_metric: torch.Tensor  # [n_pairs]
    corrupted_metric: torch.Tensor  # [n_pairs]
    masked: torch.Tensor | None = None
    """bool [n_pairs, n_tokens], where either prompt has a special token or is outside the limits:
    gradients are zero there; None: nowhere."""


class CleanRun(NamedTuple):
    """The model on clean test prompts."""

    pairs: Pairs
    layer: int
    x: torch.Tensor  # [n_pairs, n_tokens, d_model], the stream after `layer`
    metric: torch.Tensor  # [n_pairs], m(M)
    masked: torch.Tensor | None = None  # bool [n_pairs, n_tokens]; None: nowhere


def first_position(stream: ResidualStream, layer: int, pairs: Pairs) -> int:
    """The position from which on the stream of a layer is taken apart.

    After the last block only the last position reaches m.
    """
    return pairs.n_tokens - 1 if layer == stream.n_layers - 1 else pairs.first


def run_clean(
    stream: ResidualStream,
    pairs: Pairs,
    layer: int = 0,
    max_entries: int = MAX_ENTRIES,
    limits: NormLimits | None = None,
) -> CleanRun:
    """m(M) on the clean prompts, and the stream after the first layer that is taken apart.

    Args:
        limits: positions outside them pass through circuits unchanged; None: all are studied.
    """
    check_pairs(pairs)
    pairs = pairs.to(device_of(stream))
    streams, metrics, masks = [], [], []
    for part in _parts(stream, pairs, max_entries):
        logits, run = _run(stream, part.clean, masking.captured([layer], limits))
        streams.append(run[layer])
        metrics.append(logit_difference(logits, part))
        masks.append(masking.masked(limits, part, run))
    x, metric = torch.cat(streams), torch.cat(metrics)
    return CleanRun(pairs, layer, x, metric, masking.or_none(masks))


def record(
    stream: ResidualStream,
    pairs: Pairs,
    method: Method = "integrated",
    steps: int = STEPS,
    max_entries: int = MAX_ENTRIES,
    layers: Sequence[int] | None = None,
    limits: NormLimits | None = None,
) -> Recording:
    """Run the model on both prompts of every pair, and take the gradients.

    The recording holds 3 · n_layers · n_pairs · n_tokens · d_model numbers.

    Args:
        steps: of the integral.
        layers: of the model, ascending, whose streams are studied; None: all.
        limits: nodes are not taken apart at positions outside them, in either prompt.
    """
    check_pairs(pairs)
    pairs = pairs.to(device_of(stream))
    layers = range(stream.n_layers) if layers is None else layers
    parts = [
        _record_part(stream, part, layers, method, steps, max_entries, limits)
        for part in _parts(stream, pairs, max_entries)
    ]
    *streams, clean_metric, corrupted_metric, masks = zip(*parts)
    clean, corrupted, gradients = (
        {layer: torch.cat([part[layer] for part in column]) for layer in layers}
        for column in streams
    )
    metrics = torch.cat(clean_metric), torch.cat(corrupted_metric)
    return Recording(pairs, clean, corrupted, gradients, *metrics, masking.or_none(masks))


def _record_part(
    stream: ResidualStream,
    pairs: Pairs,
    layers: Sequence[int],
    method: Method,
    steps: int,
    max_entries: int,
    limits: NormLimits | None,
) -> tuple:
    """Clean streams, corrupted streams, gradients, clean and corrupted metric, mask."""
    captured = masking.captured(layers, limits)
    logits, corrupted = _run(stream, pairs.corrupted, captured)
    corrupted_metric = logit_difference(logits, pairs)
    if method == "attribution":
        clean, gradients, clean_metric = at_clean(stream, pairs, captured)
    else:
        logits, clean = _run(stream, pairs.clean, captured)
        clean_metric, gradients = logit_difference(logits, pairs), None
    mask = masking.masked(limits, pairs, clean, corrupted)
    if gradients is None:
        start = {layer: clean[layer] for layer in layers}
        # What is masked stays as it is on the way.
        end = {
            layer: corrupted[layer]
            if mask is None
            else torch.where(mask.unsqueeze(-1), clean[layer], corrupted[layer])
            for layer in layers
        }
        prefix = shared_prefix(stream, pairs, start, clean_metric)
        gradients = on_the_way(prefix, start, end, steps, max_entries)
    if mask is not None:
        gradients = {layer: gradients[layer].masked_fill(mask.unsqueeze(-1), 0) for layer in layers}
    return clean, corrupted, gradients, clean_metric, corrupted_metric, mask


def _run(
    stream: ResidualStream, tokens: torch.Tensor, layers: Sequence[int]
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Logits of the last position [n_rows, 1, vocab_size], and the stream of each layer."""
    streams: list[torch.Tensor] = []
    with last_logits_only(stream), stream.replaced(dict.fromkeys(layers, streams.append)):
        logits = stream.logits(tokens)
    return logits, dict(zip(layers, streams))


def _parts(stream: ResidualStream, pairs: Pairs, max_entries: int) -> Iterator[Pairs]:
    rows = rows_at_once(stream, pairs.n_tokens, stream.n_layers, max_entries)
    for start in range(0, len(pairs.clean), rows):
        yield pairs.rows(start, start + rows)
