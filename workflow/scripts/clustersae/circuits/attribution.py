"""Indirect effects of nodes: what m becomes, on average, when a node takes its corrupted value.

    IE(a) = E over pairs [ m(clean | a ← a_corrupted) − m(clean) ]

for a node at all of its positions. Everything after the node follows from the changed stream, so
this is the total effect of the node (Marks et al. 2024, section 3.1). Attributed effects are first
order, with the gradient at the clean prompt or its mean on the way to the corrupted one:

    ÎE(a) = E over pairs [ Σ over positions (a_corrupted − a_clean) · ∂m/∂a ]

Within one layer they add up to (x_corrupted − x_clean) · ∂m/∂x: on a linear model, or up to the
error of the integral, that is m(corrupted) − m(clean). Nodes that the behaviour rests on have a
negative effect. Masked positions are not patched, and count for nothing.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch

from clustersae.circuits.dictionaries import Dictionaries, Dictionary
from clustersae.circuits.nodes import Nodes
from clustersae.circuits.pairs import last_logits_only, logit_difference
from clustersae.circuits.recording import MAX_ENTRIES, Recording, first_position
from clustersae.models.residual import ResidualStream
from clustersae.sae.module import Latents


@torch.no_grad()
def attributed_effects(
    stream: ResidualStream,
    dictionaries: Dictionaries,
    recordings: Sequence[Recording],
    max_entries: int = MAX_ENTRIES,
) -> torch.Tensor:
    """ÎE of every node, float32 [n_nodes], from recordings with gradients; no pass of the model."""
    nodes = Nodes(dictionaries)
    n_pairs = sum(len(recording.pairs.clean) for recording in recordings)
    by_layer = []
    for layer in nodes.layers:
        dictionary = dictionaries[layer]
        # Float64 over chunks: the bits then hardly depend on how pairs are cut into chunks.
        total = torch.zeros(
            dictionary.n_latents + 1, dtype=torch.float64, device=dictionary.offset.device
        )
        for recording in recordings:
            start = first_position(stream, layer, recording.pairs)
            streams = recording.clean, recording.corrupted, recording.gradients
            clean, corrupted, gradient = (x[layer][:, start:].flatten(0, 1) for x in streams)
            n_rows = max(1, max_entries // dictionary.n_latents)
            for rows in zip(clean.split(n_rows), corrupted.split(n_rows), gradient.split(n_rows)):
                total += _layer_effects(dictionary, *rows)
        by_layer.append(total / n_pairs)
    return torch.cat(by_layer).float()


def _layer_effects(
    dictionary: Dictionary, clean: torch.Tensor, corrupted: torch.Tensor, gradient: torch.Tensor
) -> torch.Tensor:
    """Σ over tokens of (corrupted − clean) · gradient: latents, then error, [n_latents + 1].

    Args: streams of n tokens and their gradients, each [n, d_model].
    """
    gradient = gradient.float()
    before, after = dictionary.encode(clean), dictionary.encode(corrupted)
    moved = _error(dictionary, corrupted, after) - _error(dictionary, clean, before)
    latents = dictionary.moments(after, gradient) - dictionary.moments(before, gradient)
    return torch.cat([latents, (moved * gradient).sum().view(1)])


def _error(dictionary: Dictionary, x: torch.Tensor, latents: Latents) -> torch.Tensor:
    return x.float() - dictionary.combine(latents) - dictionary.offset


@torch.no_grad()
def exact_effects(
    stream: ResidualStream,
    dictionaries: Dictionaries,
    recordings: Sequence[Recording],
    numbers: Sequence[int],
    max_entries: int = MAX_ENTRIES,
) -> torch.Tensor:
    """IE of the nodes with these numbers, in their order, [len(numbers)].

    One pass per node and pair from the node's layer on, batched over both: for a few nodes.
    """
    nodes = Nodes(dictionaries)
    wanted: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        wanted[nodes.node(number).layer].append(index)
    n_pairs = sum(len(recording.pairs.clean) for recording in recordings)
    device = recordings[0].clean_metric.device
    total = torch.zeros(len(numbers), dtype=torch.float64, device=device)
    for layer, indices in wanted.items():
        latents = [nodes.node(numbers[index]).latent for index in indices]
        for recording in recordings:
            total[indices] += _exact_of_layer(
                stream, dictionaries[layer], recording, layer, latents, max_entries
            )
    return (total / n_pairs).float()


def _exact_of_layer(
    stream: ResidualStream,
    dictionary: Dictionary,
    recording: Recording,
    layer: int,
    latents: Sequence[int | None],
    max_entries: int,
) -> torch.Tensor:
    """Σ over pairs of the change of m, for each latent (None: the error), [len(latents)]."""
    pairs = recording.pairs
    start = first_position(stream, layer, pairs)
    # A changed stream, and what the blocks after it hold at once (the MLP, roughly).
    per_row = pairs.n_tokens * (8 * recording.clean[layer].shape[-1] + dictionary.n_latents)
    n_rows = max(1, max_entries // (per_row + stream.vocab_size))
    n_pairs = min(n_rows, len(pairs.clean))
    n_nodes = max(1, n_rows // n_pairs)
    sums = torch.zeros(len(latents), dtype=torch.float64, device=recording.clean_metric.device)
    for first in range(0, len(pairs.clean), n_pairs):
        rows = slice(first, first + n_pairs)
        part = pairs.rows(first, first + n_pairs)
        x, corrupted = recording.clean[layer][rows], recording.corrupted[layer][rows, start:]
        clean = x[:, start:]
        before, after = dictionary.encode(clean), dictionary.encode(corrupted)
        for node in range(0, len(latents), n_nodes):
            chosen = latents[node : node + n_nodes]
            moves = [
                _error(dictionary, corrupted, after) - _error(dictionary, clean, before)
                if latent is None
                else _move_of_latent(dictionary, latent, before, after)
                for latent in chosen
            ]
            changed = x.repeat(len(chosen), 1, 1, 1)
            move = torch.stack(moves).to(x.dtype)
            if recording.masked is not None:
                move = move.masked_fill(recording.masked[rows, start:].unsqueeze(-1), 0)
            changed[:, :, start:] += move
            tokens = part.clean.repeat(len(chosen), 1)
            with last_logits_only(stream):
                logits = stream.logits_from(layer, changed.flatten(0, 1), tokens)
            metric = logit_difference(logits, part).view(len(chosen), -1)
            change = metric - recording.clean_metric[rows]
            sums[node : node + n_nodes] += change.sum(1, dtype=torch.float64)
    return sums


def _move_of_latent(
    dictionary: Dictionary, latent: int, before: Latents, after: Latents
) -> torch.Tensor:
    """What patching a latent adds to the stream, [n_pairs, n_positions, d_model]."""
    values = [(z.values * (z.indices == latent)).sum(-1, keepdim=True) for z in (before, after)]
    return (values[1] - values[0]) * dictionary.direction(latent)
