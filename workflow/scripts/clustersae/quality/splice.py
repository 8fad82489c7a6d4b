"""What the language model loses when SAEs stand in for its residual stream.

All figures are means over the same positions, `TokenFile.scored`. Activations of tokens that are
left out (`activations.mask`) stay as they are, since no SAE has seen them.

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

from clustersae.activations.mask import NormLimits
from clustersae.models.residual import ResidualStream
from clustersae.runtime.log import Progress
from clustersae.sae.architectures.crosscoder import Crosscoder

#: Entries of one batch's logits; bounds the memory of an evaluation (256 MB in float32).
MAX_LOGITS = 2**26


class Reconstructor(Protocol):
    """What can be spliced in; `sae.module.SparseAutoencoder` is one."""

    layers: tuple[int, ...]

    def reconstruct(self, x: torch.Tensor, layer: int, bounded: bool = False) -> torch.Tensor:
        """Stand-in for the stream x [..., d_model] at `layer`, in raw space.

        Args:
            bounded: it is to be no longer than x.
        """
        ...


#: What happens to a layer's stream, x [..., d_model] → [..., d_model].
Change = Callable[[torch.Tensor], torch.Tensor]


class OfClean(NamedTuple):
    """A change that is made of the streams of the clean pass: what a crosscoder writes.

    Its code of a token is made from all of its layers, of which those above are not known yet when
    a layer is run. With this layer alone spliced, those below it, and it, are as in the clean pass.
    """

    sae: Crosscoder
    layer: int

    def at(self, streams: Mapping[int, torch.Tensor]) -> Change:
        """The change in a pass whose clean streams these are, by layer."""
        read = torch.stack([streams[layer] for layer in self.sae.layers], -2)
        found = self.sae.reconstruct(read, self.layer)
        return lambda x: found


#: Layer → what happens to its stream. Several layers are spliced at once: later ones read what
#: earlier ones wrote.
Splice = Mapping[int, Change | OfClean]


class Effect(NamedTuple):
    """What a splice did to the model's predictions."""

    ce: float
    kl: float


class EvaluationTokens(NamedTuple):
    """Rows of held-out text."""

    tokens: torch.Tensor  # [n_rows, n_ctx], padded at the right
    kept: torch.Tensor  # bool [n_rows, n_ctx]: tokens that are analysed, whose stream may change
    scored: torch.Tensor  # bool [n_rows, n_ctx − 1]: positions whose next token is predicted


class Clean(NamedTuple):
    """A clean forward pass over one batch of rows."""

    tokens: torch.Tensor  # [batch, n_ctx]
    kept: torch.Tensor  # bool [batch, n_ctx, 1]
    scored: torch.Tensor  # bool [batch, n_ctx − 1]
    streams: dict[int, torch.Tensor]  # studied layer → [batch, n_ctx, d_model]
    last: torch.Tensor  # stream after the last block, at the scored positions [n_scored, d_model]

    @property
    def targets(self) -> torch.Tensor:
        """The tokens to predict, [n_scored]."""
        return self.tokens[:, 1:][self.scored]


def measure(
    stream: ResidualStream,
    text: EvaluationTokens,
    splices: Sequence[Splice],
    batch_rows: int = 32,
    limits: NormLimits | None = None,
    divergence: bool = True,
) -> tuple[float, list[Effect], int]:
    """Cross-entropy of the clean model, and the effect of each splice.

    Args:
        limits: tokens beyond them are left as they are, too.
        divergence: whether KL is asked for; it is NaN otherwise.

    Returns:
        (CE of the clean model, effects in the order of `splices`, number of positions).
    """
    clean_ce, n_scored = 0.0, 0
    ce, kl = [0.0] * len(splices), [0.0] * len(splices)
    progress = Progress("Splicing into rows of text", len(text.tokens) * len(splices))
    for clean in clean_passes(stream, text, batch_rows, limits):
        scores = Scores(stream, clean.last, clean.targets, divergence and bool(splices))
        n_scored += len(clean.targets)
        clean_ce += scores.clean_ce
        for index, splice in enumerate(splices):
            effect = scores.of(_spliced(stream, clean, splice)[:, :-1][clean.scored])
            ce[index] += effect.ce
            kl[index] += effect.kl
            progress.update(len(clean.tokens))
    progress.close()
    effects = [Effect(c / n_scored, d / n_scored) for c, d in zip(ce, kl)]
    return clean_ce / n_scored, effects, n_scored


class Scores:
    """CE and KL of changed predictions at some positions, sums in float64.

    What every splice needs of the clean predictions is computed once. The vocabulary is the
    largest dimension of all: logits are made for the scored positions only, and no more of them
    at once than MAX_LOGITS; the clean distribution is made again where it does not fit.

        CE = log Σ exp ℓ − ℓ_target,    KL = log Σ exp ℓ − log Σ exp ℓ_clean − Σ p δ

    with ℓ the changed logits, p the clean distribution and δ what the clean logits changed by. See
    `_divergence` for how a small KL keeps its digits.

    Args:
        last: stream after the last block of the clean model, [n_scored, d_model].
        targets: [n_scored].
        divergence: whether KL is asked for.
    """

    def __init__(
        self,
        stream: ResidualStream,
        last: torch.Tensor,
        targets: torch.Tensor,
        divergence: bool = True,
    ) -> None:
        self.stream, self.last, self.targets, self.divergence = stream, last, targets, divergence
        size = max(1, MAX_LOGITS // stream.vocab_size)
        self.pieces = [slice(start, start + size) for start in range(0, len(targets), size)]
        self.clean_ce = 0.0
        self.kept: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] | None = None
        for piece in self.pieces:
            logits, scale = self._logits(last[piece])
            self.clean_ce += self._cross_entropy(logits, scale, piece)
            if divergence and len(self.pieces) == 1:
                self.kept = _distribution(logits, scale)

    def of(self, last: torch.Tensor) -> Effect:
        """CE and KL, summed over positions, of the changed stream `last` [n_scored, d_model]."""
        ce, kl = 0.0, 0.0 if self.divergence else float("nan")
        for piece in self.pieces:
            logits, scale = self._logits(last[piece])
            ce += self._cross_entropy(logits, scale, piece)
            if self.divergence:
                p, clean = self.kept or _distribution(*self._logits(self.last[piece]))
                kl += _divergence(p, clean, (logits, scale)).sum().item()
        return Effect(ce, kl)

    def _logits(self, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits float32 [n, vocab_size] and log Σ exp of them [n]."""
        logits = self.stream.unembed(last).float()
        return logits, logits.logsumexp(-1)

    def _cross_entropy(self, logits: torch.Tensor, scale: torch.Tensor, piece: slice) -> float:
        at_target = logits.gather(1, self.targets[piece, None]).squeeze(1)
        return (scale - at_target).sum(dtype=torch.float64).item()


def _distribution(
    logits: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """p [n, vocab_size], and the logits that it is of with log Σ exp of them."""
    return (logits - scale[:, None]).exp(), (logits, scale)


def _divergence(
    p: torch.Tensor,
    clean: tuple[torch.Tensor, torch.Tensor],
    new: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """KL [n], float64, of p [n, vocab_size] from what the new logits say.

    A shift of all logits changes nothing, so that the change δ is centred first, Σ p δ = 0. Then

        KL = log(1 + Σ p (exp δ − 1)) − Σ p δ

    adds up terms that are as small as KL itself. (The difference of two log Σ exp would lose a
    small KL to rounding; without centring, a shift far below 0 leaves the logarithm of nothing.)
    Where an exponential overflows, KL is large, and that difference keeps its digits.

    Args:
        clean, new: logits [n, vocab_size] and log Σ exp of them [n].
    """
    change = new[0] - clean[0]
    shift = torch.linalg.vecdot(p, change)
    change -= shift[:, None]
    rest = torch.linalg.vecdot(p, change).double()
    divergence = torch.linalg.vecdot(p, change.expm1_()).double().log1p() - rest
    direct = new[1].double() - clean[1].double() - shift.double()
    return torch.where(divergence.isfinite(), divergence, direct)


def clean_passes(
    stream: ResidualStream,
    text: EvaluationTokens,
    batch_rows: int,
    limits: NormLimits | None = None,
) -> Iterator[Clean]:
    """Clean forward passes over all rows, in batches whose logits fit into memory.

    Raises:
        ValueError: no position has a next token to predict.
    """
    device = next(stream.model.parameters()).device
    layers = limits.layers if limits else tuple(range(stream.n_layers))
    visited = sorted({*layers, stream.n_layers - 1})
    entries = text.tokens.shape[1] * stream.vocab_size
    rows = max(1, min(batch_rows, MAX_LOGITS // entries))
    if not text.scored.any():
        raise ValueError("No position has a next token to predict.")
    for tokens, kept, scored in zip(*(part.split(rows) for part in text)):
        # Nothing behind the last token to predict matters: attention is causal.
        width = 1 + int((torch.arange(1, scored.shape[1] + 1) * scored).max())
        if width == 1:
            continue
        tokens, kept = tokens[:, :width].long().to(device), kept[:, :width].to(device)
        scored = scored[:, : width - 1].to(device)
        stream.learn_extras(stream.n_layers - 1, tokens)
        streams = dict(zip(visited, stream.capture(tokens, visited)))
        last = streams[visited[-1]][:, :-1][scored]
        if limits:
            kept = kept & limits.inside([streams[layer] for layer in layers])
        yield Clean(tokens, kept.unsqueeze(-1), scored, streams, last)


def identity_elsewhere(change: Change, kept: torch.Tensor) -> Change:
    """`change` where `kept` [batch, n_ctx, 1] is true, and the stream as it is elsewhere."""
    return lambda x: torch.where(kept, change(x).to(x.dtype), x)


def _spliced(stream: ResidualStream, clean: Clean, splice: Splice) -> torch.Tensor:
    """Stream after the last block [batch, n_ctx, d_model] with the splice in place.

    The stream up to the first spliced layer is that of the clean pass, so only what comes after
    it is run again.
    """
    changes = {
        layer: identity_elsewhere(
            change.at(clean.streams) if isinstance(change, OfClean) else change, clean.kept
        )
        for layer, change in splice.items()
    }
    first = min(changes)
    x = changes.pop(first)(clean.streams[first])
    with stream.replaced(changes):
        return stream.last_from(first, x, clean.tokens)


def splice_of(
    saes: Sequence[Reconstructor], layers: Sequence[int] | None = None, bounded: bool = False
) -> Splice:
    """The splice that puts every SAE in at each of its layers, or at those in `layers` only.

    Args:
        bounded: what is put in is no longer than what it replaces, as
            `SparseAutoencoder.reconstruct` does it.

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
    return {layer: _reconstruction(owner[layer], layer, bounded) for layer in wanted}


def _reconstruction(sae: Reconstructor, layer: int, bounded: bool) -> Change | OfClean:
    if isinstance(sae, Crosscoder):
        return OfClean(sae, layer)
    return lambda x: sae.reconstruct(x, layer, bounded)


def zero_ablation(layers: Sequence[int]) -> Splice:
    """The splice that sets the stream of each layer to zero."""
    return dict.fromkeys(layers, torch.zeros_like)


def mean_ablation(means: Mapping[int, torch.Tensor]) -> Splice:
    """The splice that sets the stream of each layer to its mean [d_model]."""
    return {layer: _constant(mean) for layer, mean in means.items()}


def _constant(value: torch.Tensor) -> Change:
    return lambda x: value.to(x).expand_as(x)


def recovered(ablated: float, spliced: float, clean: float) -> float:
    """(CE_ablated − CE_spliced) / (CE_ablated − CE_clean); NaN where ablation changes nothing."""
    return (ablated - spliced) / (ablated - clean) if ablated != clean else float("nan")
