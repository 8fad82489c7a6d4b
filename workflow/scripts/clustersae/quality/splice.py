"""What the language model loses when SAEs stand in for its residual stream.

All figures are means over the same positions: those whose next token is analysed (neither BOS nor
padding). Activations *at* BOS and padding are left as they are, since no SAE has seen them.

    CE            cross-entropy of the next token, in nats
    delta_ce      CE_spliced − CE_clean
    ce_recovered  (CE_ablated − CE_spliced) / (CE_ablated − CE_clean), the stream of the same
                  layers being ablated to zero or to its mean
    kl            KL(clean ‖ spliced) of the next-token distribution, in nats

Sums are float64. A clean forward pass serves all the splices of its batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

from clustersae.models.residual import ResidualStream

#: Entries of one batch's logits; bounds the memory of an evaluation (256 MB in float32).
MAX_LOGITS = 2**26


class Reconstructor(Protocol):
    """What can be spliced in; `sae.module.SparseAutoencoder` is one."""

    layers: tuple[int, ...]

    def reconstruct(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        """Stand-in for the stream x [..., d_model] at `layer`, in raw space."""
        ...


#: What happens to a layer's stream, x [..., d_model] → [..., d_model].
Change = Callable[[torch.Tensor], torch.Tensor]

#: Layer → what happens to its stream. Several layers are spliced at once: later ones read what
#: earlier ones wrote.
Splice = Mapping[int, Change]


class Effect(NamedTuple):
    """What a splice did to the model's predictions."""

    ce: float
    kl: float


class Clean(NamedTuple):
    """A clean forward pass over one batch of rows."""

    tokens: torch.Tensor  # [batch, n_ctx]
    kept: torch.Tensor  # bool [batch, n_ctx, 1]: tokens that are analysed, whose stream may change
    scored: torch.Tensor  # bool [batch, n_ctx − 1]: positions whose next token is analysed
    targets: torch.Tensor  # [n_scored]
    log_probabilities: torch.Tensor  # [n_scored, vocab_size]
    streams: list[torch.Tensor]  # per layer [batch, n_ctx, d_model]


def measure(
    stream: ResidualStream,
    tokens: torch.Tensor,
    kept: torch.Tensor,
    splices: Sequence[Splice],
    batch_rows: int = 32,
) -> tuple[float, list[Effect], int]:
    """Cross-entropy of the clean model, and the effect of each splice.

    Args:
        tokens: [n_rows, n_ctx], padded at the right.
        kept: bool [n_rows, n_ctx], which tokens are analysed.

    Returns:
        (CE of the clean model, effects in the order of `splices`, number of positions).
    """
    clean_ce, n_scored = 0.0, 0
    ce, kl = [0.0] * len(splices), [0.0] * len(splices)
    for clean in clean_passes(stream, tokens, kept, batch_rows):
        n_scored += len(clean.targets)
        clean_ce += _cross_entropy(clean.log_probabilities, clean.targets)
        for index, splice in enumerate(splices):
            spliced = _log_probabilities(_spliced_logits(stream, clean, splice), clean.scored)
            ce[index] += _cross_entropy(spliced, clean.targets)
            kl[index] += _divergence(clean.log_probabilities, spliced)
    effects = [Effect(c / n_scored, d / n_scored) for c, d in zip(ce, kl)]
    return clean_ce / n_scored, effects, n_scored


def clean_passes(
    stream: ResidualStream, tokens: torch.Tensor, kept: torch.Tensor, batch_rows: int
) -> Iterator[Clean]:
    """Clean forward passes over all rows, in batches whose logits fit into memory.

    Raises:
        ValueError: no position has a next token to predict.
    """
    device = next(stream.model.parameters()).device
    vocab_size = stream.model.get_input_embeddings().get_parameter("weight").shape[0]
    rows = max(1, min(batch_rows, MAX_LOGITS // (tokens.shape[1] * vocab_size)))
    if not kept[:, 1:].any():
        raise ValueError("No position has a next token to predict.")
    for batch, mask in zip(tokens.split(rows), kept.split(rows)):
        # Nothing behind the last analysed token matters: attention is causal.
        width = int((torch.arange(1, mask.shape[1] + 1) * mask).max())
        batch, mask = batch[:, :width].long().to(device), mask[:, :width].to(device)
        scored = mask[:, 1:]
        if not scored.any():
            continue
        logits, streams = stream.logits_and_streams(batch)
        yield Clean(
            batch,
            mask.unsqueeze(-1),
            scored,
            batch[:, 1:][scored],
            _log_probabilities(logits, scored),
            streams,
        )


def identity_elsewhere(change: Change, kept: torch.Tensor) -> Change:
    """`change` where `kept` [batch, n_ctx, 1] is true, and the stream as it is elsewhere."""
    return lambda x: torch.where(kept, change(x).to(x.dtype), x)


def _spliced_logits(stream: ResidualStream, clean: Clean, splice: Splice) -> torch.Tensor:
    """Logits [batch, n_ctx, vocab_size] with the splice in place.

    The stream up to the first spliced layer is that of the clean pass, so only what comes after
    it is run again.
    """
    changes = {layer: identity_elsewhere(change, clean.kept) for layer, change in splice.items()}
    first = min(changes)
    x = changes.pop(first)(clean.streams[first])
    with stream.replaced(changes):
        return stream.logits_from(first, x, clean.tokens)


def _log_probabilities(logits: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
    """log p of the next token at the scored positions, [n_scored, vocab_size], float32."""
    return F.log_softmax(logits[:, :-1][scored].float(), dim=-1)


def _cross_entropy(log_probabilities: torch.Tensor, targets: torch.Tensor) -> float:
    """Sum over positions."""
    return -log_probabilities.gather(1, targets[:, None]).sum(dtype=torch.float64).item()


def _divergence(clean: torch.Tensor, spliced: torch.Tensor) -> float:
    """Sum over positions of KL(clean ‖ spliced)."""
    return (clean.exp() * (clean - spliced)).sum(dtype=torch.float64).item()


def splice_of(saes: Sequence[Reconstructor], layers: Sequence[int] | None = None) -> Splice:
    """The splice that puts every SAE in at each of its layers, or at those in `layers` only.

    Raises:
        ValueError: two SAEs claim one layer, or none serves a layer that was asked for.
    """
    owner: dict[int, Reconstructor] = {}
    for sae in saes:
        for layer in sae.layers:
            if layer in owner:
                raise ValueError(f"Two SAEs serve layer {layer}.")
            owner[layer] = sae
    wanted = sorted(owner) if layers is None else layers
    absent = set(wanted) - owner.keys()
    if absent:
        raise ValueError(f"No SAE serves the layers {sorted(absent)}.")
    return {layer: _reconstruction(owner[layer], layer) for layer in wanted}


def _reconstruction(sae: Reconstructor, layer: int) -> Change:
    return lambda x: sae.reconstruct(x, layer)


def zero_ablation(layers: Sequence[int]) -> Splice:
    """The splice that sets the stream of each layer to zero."""
    return dict.fromkeys(layers, torch.zeros_like)


def mean_ablation(layers: Sequence[int], mean: torch.Tensor) -> Splice:
    """The splice that sets the stream of each layer to its mean, mean [n_layers, d_model]."""
    return {layer: _constant(mean[layer]) for layer in layers}


def _constant(value: torch.Tensor) -> Change:
    return lambda x: value.to(x).expand_as(x)


def recovered(ablated: float, spliced: float, clean: float) -> float:
    """(CE_ablated − CE_spliced) / (CE_ablated − CE_clean); NaN where ablation changes nothing."""
    return (ablated - spliced) / (ablated - clean) if ablated != clean else float("nan")
