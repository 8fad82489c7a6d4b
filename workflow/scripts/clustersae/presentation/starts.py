"""How the starts of specialised SAEs are drawn: alike in every figure that tells them apart."""

from collections.abc import Iterable
from itertools import cycle

import numpy as np

from clustersae.presentation.specialised import SPECIALISED, start_key, start_of
from clustersae.presentation.style import METHOD_COLOURS, Look

#: Colour and marker: from one SAE, down the tree, and from more SAEs in the order of their number.
_FROM_ONE, _DOWN_THE_TREE = (METHOD_COLOURS[SPECIALISED], "*"), ("#8C9B1E", "^")
_FROM_SEVERAL = (("#44AA99", "D"), ("#7A5195", "s"), ("#4B7F52", "v"))


def looks_of(partitions: Iterable[str]) -> dict[str, Look]:
    """Colour, marker and name of every start, by partition: fewest roots first, the tree last."""
    several, looks = cycle(_FROM_SEVERAL), {}
    for name in sorted(set(partitions), key=start_key):
        fixed = {1: _FROM_ONE, np.inf: _DOWN_THE_TREE}.get(start_key(name))
        looks[name] = Look(*(fixed or next(several)), f"specialised {start_of(name)}")
    return looks
