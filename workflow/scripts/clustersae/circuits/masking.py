"""Positions that no SAE was made for: they pass through unchanged, as BOS does.

A few tokens of a real model have a norm far beyond all others (attention sinks). They are left out
where SAEs are trained and measured, and so they are here: at a masked position no node is taken
apart, at any layer.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch

from clustersae.activations.mask import NormLimits


def captured(layers: Iterable[int], limits: NormLimits | None) -> list[int]:
    """The layers whose streams are needed, to study `layers` and to apply the limits."""
    return sorted({*layers, *(limits.layers if limits else ())})


def masked(
    limits: NormLimits | None, first: int, *runs: Mapping[int, torch.Tensor]
) -> torch.Tensor | None:
    """Positions outside the limits in any of the runs, bool [batch, n_tokens].

    Those before `first` are not analysed anyway, and do not count.

    Args:
        runs: layer → stream [batch, n_tokens, d_model], of the same prompts or of their partners.
    """
    if limits is None:
        return None
    inside = [limits.inside([run[layer] for layer in limits.layers]) for run in runs]
    outside = ~torch.stack(inside).all(0)
    outside[:, :first] = False
    return outside


def or_none(masks: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """The masks of all parts in one; None where nothing is masked, which then costs nothing."""
    parts = [mask for mask in masks if mask is not None]
    if not parts or not any(bool(mask.any()) for mask in parts):
        return None
    return torch.cat(parts)


def count(mask: torch.Tensor | None) -> int:
    """Masked positions."""
    return 0 if mask is None else int(mask.sum())
