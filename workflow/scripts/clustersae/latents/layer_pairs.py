"""Which two layers are compared where a comparison takes minutes: all, or a sample of many."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import numpy as np

#: Most pairs of layers that are all taken: those of 16 layers. A matching of 65,000 latents takes
#: minutes on a CPU, and 40 layers have 780 pairs.
MOST_PAIRS = 120


def layer_pairs(
    layers: Iterable[int], generator: np.random.Generator, most: int = MOST_PAIRS
) -> dict[tuple[int, int], float]:
    """(layer, other layer) → how many pairs of the same distance it stands for; 1 if all are taken.

    Of more than `most` pairs, every distance gives equally many (one more where it is short and
    `most` asks for it) or all that it has, and one at least. Pairs of one distance are equally
    likely, so their mean has no bias, and neither have weighted sums over all distances. Whoever
    draws anew for every seed has the error of the sample in the spread of the seeds.
    """
    pairs = list(combinations(layers, 2))
    sizes: Counter[int] = Counter()
    turns = []
    for place in generator.permutation(len(pairs)) if len(pairs) > most else ():
        distance = _distance(pairs[place])
        turns.append((sizes[distance], distance, place))
        sizes[distance] += 1
    if not turns:
        return dict.fromkeys(pairs, 1.0)
    places = [place for *_, place in sorted(turns)[: max(most, len(sizes))]]
    chosen = [pairs[place] for place in sorted(places)]
    taken = Counter(map(_distance, chosen))
    return {pair: sizes[_distance(pair)] / taken[_distance(pair)] for pair in chosen}


def _distance(pair: tuple[int, int]) -> int:
    return abs(pair[1] - pair[0])
