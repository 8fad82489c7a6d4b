"""Which layers of a model are studied."""

import json
from collections.abc import Mapping, Sequence

from clustersae.runtime.errors import InputError

#: Of the largest published models, 126 layers.
MOST_LAYERS = 1000


def studied_layers(
    asked: str | Sequence[int] | Mapping[str, int], n_layers: int
) -> tuple[int, ...]:
    """The studied layers, ascending.

    Args:
        asked: `activations.layers`: "all", a list, or a range {first, last, step} with its last
            layer included.
        n_layers: of the model.

    Raises:
        InputError: there are none, or the model has no such layer.
    """
    layers: Sequence[int]
    if isinstance(asked, str):
        layers = range(n_layers)
    elif isinstance(asked, Mapping):
        if asked.get("step", 1) < 1:
            raise InputError("activations.layers: step must be at least 1.")
        last = asked.get("last", n_layers - 1)
        layers = range(asked.get("first", 0), last + 1, asked.get("step", 1))
    else:
        layers = sorted(asked)
    if not layers:
        raise InputError(f"activations.layers: {json.dumps(asked)} names no layer.")
    highest = max(layers[-1], asked.get("last", 0) if isinstance(asked, Mapping) else 0)
    if highest >= n_layers:
        raise InputError(
            f"activations.layers names layer {highest}, but the model has the layers 0 to"
            f" {n_layers - 1}."
        )
    return tuple(layers)
