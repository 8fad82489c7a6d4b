"""What latents write into the residual stream: logits that they move, and others that write alike.

The direct effect on logits is what the model's own head makes of the latent's decoder direction,

    effect = head(d) - head(0),    head(x) = W_U norm(x) + b,    d = σ_l W_dec[i],

with the final norm's gain and centring, and whatever else stands between stream and logits. Layer
and RMS norm do not depend on the length of d, so effects of latents can be compared: they are those
of a stream that holds this direction alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F

from clustersae.sae.module import SparseAutoencoder

#: Tokens promoted most, and as many suppressed most, that are kept of each latent.
N_TOKENS = 10
#: Nearest latents that are kept.
N_NEAREST = 5
#: Directions whose logits, or cosines, are held at once.
BLOCK = 128

#: Of directions.parquet.
SCHEMA = pa.schema(
    [
        ("variant", pa.string()),
        ("partition", pa.string()),
        ("group", pa.string()),
        ("latent", pa.int32()),
        ("layer", pa.int32()),
        ("promoted", pa.list_(pa.string())),
        ("promoted_effect", pa.list_(pa.float32())),
        ("suppressed", pa.list_(pa.string())),
        ("suppressed_effect", pa.list_(pa.float32())),
        ("nearest", pa.list_(pa.int32())),  # of the layer's per-layer SAE
        ("cosine", pa.list_(pa.float32())),
        ("start_cosine", pa.float32()),  # to the same latent of the SAE that it started from
        ("scale", pa.float32()),  # of what it is in an export over what it is here
    ]
)

#: Takes vectors of the stream after the last block [n, d_model]; returns logits [n, vocab_size].
Head = Callable[[torch.Tensor], torch.Tensor]


class Effects(NamedTuple):
    """The tokens whose logits directions move most, largest effects first."""

    promoted: np.ndarray  # int64 [n, n_tokens]
    promoted_effect: np.ndarray  # [n, n_tokens]
    suppressed: np.ndarray
    suppressed_effect: np.ndarray


def directions_of(sae: SparseAutoencoder, layer: int, latents: torch.Tensor) -> torch.Tensor:
    """What one unit of each latent adds to the stream at `layer`, [n, d_model].

    With one scale for a layer that is the decoder's row but for its length, which is nothing to
    the norm: such SAEs have the same effects on all layers.
    """
    return sae.W_dec[latents] * sae.layer_scale[sae.layers.index(layer)]


def logit_effects(head: Head, directions: torch.Tensor, n_tokens: int = N_TOKENS) -> Effects:
    """The effects of directions [n, d_model] on logits.

    Args:
        n_tokens: of each sign; fewer where the vocabulary is smaller.
    """
    # Of the size of a stream, so that the norm's epsilon is nothing beside it.
    scaled = F.normalize(directions, dim=1) * directions.shape[1] ** 0.5
    rest = head(torch.zeros_like(scaled[:1])).float()
    parts = []
    for some in scaled.split(BLOCK):
        effects = head(some).float() - rest
        n = min(n_tokens, effects.shape[1])
        most, least = effects.topk(n, dim=1), effects.topk(n, dim=1, largest=False)
        found = (most.indices, most.values, least.indices, least.values)
        parts.append([each.cpu().numpy() for each in found])
    return Effects(*(np.concatenate(each) for each in zip(*parts)))


def nearest(
    rows: torch.Tensor, others: torch.Tensor, live: torch.Tensor, n_nearest: int = N_NEAREST
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosines [n, n_nearest] of the rows of `others` nearest to each of `rows`.

    Args:
        rows, others: decoder rows [n, d_model] and [m, d_model], in units of the layer's scale.
        live: indices of the rows of `others` that count.
    """
    candidates = F.normalize(others[live], dim=1)
    n_found = min(n_nearest, len(live))
    values = rows.new_empty(len(rows), n_found)
    indices = live.new_empty(len(rows), n_found)
    # All cosines at once would be as many as latents squared.
    for some, *found in zip(*(each.split(BLOCK) for each in (rows, values, indices))):
        torch.topk(F.normalize(some, dim=1) @ candidates.T, n_found, dim=1, out=found)
    return live[indices].cpu().numpy(), values.cpu().numpy()
