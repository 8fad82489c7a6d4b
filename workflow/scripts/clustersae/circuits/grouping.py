"""Pairs of a task as tensors, one group for each length of prompt."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from clustersae.circuits.pairs import Pairs
from clustersae.circuits.tasks.pairs import TokenPair

#: Pairs of a length without which their mean stands in for nothing.
LEAST_TRAINING_PAIRS = 4


def group_pairs(
    pairs: Sequence[TokenPair], first: int = 0, left_out: tuple[int, ...] = ()
) -> dict[int, Pairs]:
    """Length → the pairs of that length in their order, lengths ascending.

    Args:
        first: tokens at the beginning (BOS) that are not analysed.
        left_out: ids of those that are not analysed anywhere.
    """
    groups: dict[int, list[TokenPair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.length].append(pair)
    return {
        length: Pairs(
            torch.tensor([pair.clean for pair in group]),
            torch.tensor([pair.patch for pair in group]),
            torch.tensor([pair.answer for pair in group]),
            torch.tensor([pair.wrong for pair in group]),
            first,
            left_out,
        )
        for length, group in sorted(groups.items())
    }


def matching_lengths(
    train: dict[int, Pairs], test: dict[int, Pairs], least: int = LEAST_TRAINING_PAIRS
) -> list[int]:
    """The lengths with test pairs, with `least` training pairs or more, and a token to analyse.

    What is ablated takes its place from training prompts of the same length.
    """
    return sorted(
        length
        for length in train.keys() & test.keys()
        if len(train[length].clean) >= least and length > train[length].first
    )
