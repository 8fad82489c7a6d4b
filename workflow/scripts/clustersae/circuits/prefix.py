"""The beginning that the clean and the corrupted prompt share, run once for all points of a way.

Attention is causal: up to the first token that differs the streams are those of the clean prompt,
wherever on the way from clean to corrupted. Later tokens only look back at them, through keys and
values that every block has seen already. In tasks where the difference comes late (the giver of an
indirect object, the year that a war began in) most of the prompt lies before it.
"""

from collections.abc import Mapping
from typing import Any

import torch

from clustersae.circuits.pairs import Pairs, last_logits_only, logit_difference
from clustersae.models.residual import ResidualStream, tolerance


class Prefix:
    """Keys and values of the tokens before `n_tokens`; of none, if these are 0."""

    def __init__(self, stream: ResidualStream, pairs: Pairs, n_tokens: int) -> None:
        self.stream, self.pairs, self.n_tokens = stream, pairs, n_tokens
        self._cached: list[tuple[torch.Tensor, torch.Tensor]] = []
        if n_tokens:
            cache = _empty_cache(stream)
            with torch.no_grad():
                stream.model.base_model(
                    input_ids=pairs.clean[:, :n_tokens], past_key_values=cache, use_cache=True
                )
            self._cached = [(layer.keys, layer.values) for layer in cache.layers]

    def metric(self, layer: int, x: torch.Tensor, with_gradient: bool = False) -> torch.Tensor:
        """m [n_rows] when the stream after `layer` goes on as `x`.

        Args:
            x: [n_rows, tokens behind the prefix, d_model]; the rows are the pairs, n_rows / n_pairs
                times over.
        """
        repeats = len(x) // len(self.pairs.clean)
        tokens = self.pairs.clean[:, self.n_tokens :].repeat(repeats, 1)
        with last_logits_only(self.stream):
            logits = self.stream.logits_from(layer, x, tokens, with_gradient, self._past(repeats))
        return logit_difference(logits, self.pairs)

    def _past(self, repeats: int) -> Any:
        """A cache of its own for every pass, which adds to it."""
        if not self.n_tokens:
            return None
        cache = _empty_cache(self.stream)
        for index, (keys, values) in enumerate(self._cached):
            cache.update(keys.repeat(repeats, 1, 1, 1), values.repeat(repeats, 1, 1, 1), index)
        return cache


def _empty_cache(stream: ResidualStream) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=stream.model.config)


def shared_prefix(
    stream: ResidualStream, pairs: Pairs, clean: Mapping[int, torch.Tensor], metric: torch.Tensor
) -> Prefix:
    """The longest prefix that all pairs share with their corruption; empty if it is of no use.

    It is of none to a model that cannot go on from there.

    Args:
        clean: layer → stream of the clean prompts, and `metric` [n_pairs], their m: what a model
            that can go on must find again.
    """
    whole = Prefix(stream, pairs, 0)
    if not (stream.restartable and hasattr(stream.model, "config")):
        return whole
    differs = (pairs.clean != pairs.corrupted).any(0).tolist()
    n_tokens = differs.index(True) if True in differs else 0
    if not n_tokens:
        return whole
    layer, x = next(iter(clean.items()))
    try:
        prefix = Prefix(stream, pairs, n_tokens)
        found = prefix.metric(layer, x[:, n_tokens:])
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return whole  # the model keeps no keys, or others
    # More is no rounding: the model does something else with what it has cached.
    same = (found - metric).abs().max() <= tolerance(x.dtype) * metric.abs().max()
    return prefix if bool(same) else whole
