"""What the settings that are left open (null) become, so that measuring costs less than training.

A circuit on one prompt is a pass of the model. In a small model thousands of them are nothing, and
every way of taking the stream apart is tried. In a large one, what figures and verdict are about
is measured: the first treatment of errors, the first ablation.
"""

from collections.abc import Mapping
from typing import Any

#: A model is large from this n_layers · d_model² on; its blocks have 12 times as many parameters.
LARGE = 2**20

_OPEN: dict[str, tuple[Any, Any]] = {  # for small models, for large ones
    "sizes": (16, 8),
    "errors": (("ablated", "nodes", "kept"), ("ablated",)),
    "ablations": (("mean", "zero", "resample"), ("mean",)),
    "exact_nodes": (20, 5),
}


def settled(settings: Mapping[str, Any], n_layers: int, d_model: int) -> dict[str, Any]:
    """Settings of evaluation.circuits, each that is None replaced by what suits the model.

    Args:
        n_layers, d_model: of the whole model.
    """
    large = n_layers * d_model**2 >= LARGE
    return {
        key: _OPEN[key][large] if value is None and key in _OPEN else value
        for key, value in settings.items()
    }
