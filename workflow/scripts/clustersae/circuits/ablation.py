"""What stands in for the nodes outside a circuit.

    mean      a node's mean at its position, over training prompts
    resample  the node's value on one training prompt, drawn for every test prompt; all nodes of
              a test prompt take theirs from the same one
    zero      zero, for latents and errors; decoder bias and mean of the layer stay

Training prompts are both prompts of every pair: a mean over the clean ones alone would keep the
answer wherever the clean prompts of a task share one, over the corrupted ones alone the wrong
answer. With `mean` and `resample` the stream of an empty circuit is a mean or another prompt's
stream, whatever the SAE, and so m(∅) is the same for all SAEs; with `zero` it is not.

Masked training positions stand in for nothing: means are over the others at the same position (all
of them, if all are masked), and a drawn value that is masked is replaced by that mean.
"""

from typing import Literal, NamedTuple

import torch

from clustersae.circuits.dictionaries import Dictionary, encode_in_chunks
from clustersae.circuits.nodes import Circuits
from clustersae.circuits.recording import MAX_ENTRIES, Recording
from clustersae.sae import sparse
from clustersae.sae.module import Latents

Ablation = Literal["mean", "zero", "resample"]


class StandIn(NamedTuple):
    """Values for the nodes of one layer, at its positions."""

    rest: torch.Tensor
    """[n_prompts or 1, n_positions, d_model]: the offset b, and what stands in for the error."""
    mean: torch.Tensor | None = None  # [n_positions, n_latents]
    drawn: Latents | None = None  # [n_prompts, n_positions, k]

    def rows(self, start: int, stop: int) -> "StandIn":
        """Those for the test prompts from `start` up to `stop`."""
        rest = self.rest if len(self.rest) == 1 else self.rest[start:stop]
        drawn = self.drawn and Latents(*(part[start:stop] for part in self.drawn))
        return StandIn(rest, self.mean, drawn)

    def of_all(
        self, dictionary: Dictionary, circuits: Circuits, ranks: torch.Tensor
    ) -> torch.Tensor | None:
        """Σ over latents outside the circuits of mean · r, [S, n_positions, d_model].

        One product for all prompts.

        Args:
            ranks: int64 [n_latents], of this layer's latents.
        """
        if self.mean is None:
            return None
        outside = ~circuits.hold(ranks.view(1, 1, -1))
        return dictionary.combine_dense(self.mean * outside)


@torch.no_grad()
def stand_in(
    ablation: Ablation,
    dictionary: Dictionary,
    recording: Recording,
    layer: int,
    start: int,
    sources: torch.Tensor,
    max_entries: int = MAX_ENTRIES,
) -> StandIn:
    """The values for one layer, from position `start` on.

    Args:
        sources: int64 [n_prompts], the training prompt that each test prompt takes values from;
            clean prompts are numbered first, then corrupted ones.
        max_entries: pre-activations held at once.
    """
    if ablation == "zero":
        return StandIn(dictionary.offset.view(1, 1, -1))
    # [2 n_pairs, n_positions, d_model]
    x = torch.cat([recording.clean[layer][:, start:], recording.corrupted[layer][:, start:]])
    masked = None if recording.masked is None else recording.masked[:, start:].repeat(2, 1)
    if ablation == "resample":
        drawn_x = x[sources].float()
        if masked is not None:
            drawn_x = torch.where(masked[sources].unsqueeze(-1), _mean(x, masked), drawn_x)
        drawn = encode_in_chunks(dictionary, drawn_x, max_entries)
        return StandIn(drawn_x - dictionary.combine(drawn), drawn=drawn)
    mean = _mean_latents(dictionary, x, masked, max_entries)
    rest = _mean(x, masked) - dictionary.combine_dense(mean)
    return StandIn(rest.unsqueeze(0), mean=mean)


def _mean(x: torch.Tensor, masked: torch.Tensor | None) -> torch.Tensor:
    """Mean over prompts x [n_prompts, n_positions, d_model] → float32 [n_positions, d_model]."""
    if masked is None:
        return x.float().mean(0)
    return (x.float() * _weights(masked).unsqueeze(-1)).sum(0)


def _weights(masked: torch.Tensor) -> torch.Tensor:
    """What every prompt counts for in the mean at each position, [n_prompts, n_positions]."""
    kept = ~masked | masked.all(0)
    return kept / kept.sum(0)


def _mean_latents(
    dictionary: Dictionary, x: torch.Tensor, masked: torch.Tensor | None, max_entries: int
) -> torch.Tensor:
    """Mean over prompts x [n_prompts, n_positions, d_model] → [n_positions, n_latents]."""
    n_prompts, n_positions, _ = x.shape
    width = dictionary.n_latents
    latents = encode_in_chunks(dictionary, x, max_entries)
    offsets = torch.arange(n_positions, device=x.device).mul(width).view(-1, 1)
    # As a product, whose sums come in a fixed order on a GPU; scattered additions do not.
    layout = sparse.transpose((latents.indices + offsets).flatten(1), n_positions * width)
    ones = torch.ones(n_prompts, 1, device=x.device)
    if masked is not None:
        values = latents.values * _weights(masked).unsqueeze(-1)
        return layout.product(values.flatten(1), ones).view(n_positions, width)
    sums = layout.product(latents.values.flatten(1), ones)
    return sums.view(n_positions, width) / n_prompts


def draw_sources(n_prompts: int, n_pairs: int, seed: int) -> torch.Tensor:
    """A training prompt for each test prompt, the same for all SAEs: int64 [n_prompts]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2 * n_pairs, (n_prompts,), generator=generator)
