"""How the starts of specialised SAEs are drawn: alike in every figure that tells them apart."""

from collections.abc import Iterable
from itertools import cycle

from clustersae.presentation.specialised import SPECIALISED, start_key, start_of
from clustersae.presentation.style import METHOD_COLOURS, Look

#: Colour and marker: from one SAE, and from more SAEs in the order of their number.
_FROM_ONE = (METHOD_COLOURS[SPECIALISED], "*")
_FROM_SEVERAL = (("#44AA99", "D"), ("#7A5195", "s"), ("#4B7F52", "v"))


def looks_of(partitions: Iterable[str]) -> dict[str, Look]:
    """Colour, marker and name of every start, by partition: fewest shared SAEs first."""
    several, looks = cycle(_FROM_SEVERAL), {}
    for name in sorted(set(partitions), key=start_key):
        look = _FROM_ONE if start_key(name) == 1 else next(several)
        looks[name] = Look(*look, f"specialised {start_of(name)}")
    return looks
