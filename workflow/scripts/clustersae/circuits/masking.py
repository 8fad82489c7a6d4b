"""Positions that no SAE was made for: they pass through unchanged, as BOS does.

A few tokens of a real model have a norm far beyond all others (attention sinks), and prompts of a
chat model spell out special tokens. They are left out where SAEs are trained and measured, and so
they are here: at a masked position no node is taken apart, at any layer.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch

from clustersae.activations.mask import NormLimits
from clustersae.circuits.pairs import Pairs


def captured(layers: Iterable[int], limits: NormLimits | None) -> list[int]:
    """The layers whose streams are needed, to study `layers` and to apply the limits."""
    return sorted({*layers, *(limits.layers if limits else ())})


def masked(
    limits: NormLimits | None, pairs: Pairs, *runs: Mapping[int, torch.Tensor]
) -> torch.Tensor | None:
    """Positions of special tokens, or outside the limits, in any of the runs.

    Those before `pairs.first` are not analysed anyway, and do not count.

    Args:
        runs: layer → stream [batch, n_tokens, d_model], of the clean prompts, and of the corrupted
            ones if they are patched.

    Returns:
        bool [batch, n_tokens]; None where nothing is asked for.
    """
    if limits is None and not pairs.left_out:
        return None
    special = torch.tensor(pairs.left_out, dtype=torch.int64, device=pairs.clean.device)
    outside = torch.zeros_like(pairs.clean, dtype=torch.bool)
    for tokens, run in zip((pairs.clean, pairs.corrupted), runs):
        outside |= torch.isin(tokens, special)
        if limits is not None:
            outside |= ~limits.inside([run[layer] for layer in limits.layers])
    outside[:, : pairs.first] = False
    return outside


def or_none(masks: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """The masks of all parts in one; None where nothing is masked, which then costs nothing."""
    parts = [mask for mask in masks if mask is not None]
    if not any(bool(mask.any()) for mask in parts):
        return None
    return torch.cat(parts)


def count(mask: torch.Tensor | None) -> int:
    """Masked positions."""
    return 0 if mask is None else int(mask.sum())
