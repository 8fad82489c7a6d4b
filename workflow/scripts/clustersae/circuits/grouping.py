"""Pairs of a task as tensors, one group for each length of prompt."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from clustersae.circuits.pairs import Pairs
from clustersae.circuits.tasks.pairs import TokenPair
from clustersae.circuits.tasks.splits import linked

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
    by_length: dict[int, list[tuple[TokenPair, int]]] = defaultdict(list)
    for pair, number in zip(pairs, linked(pairs)):
        by_length[pair.length].append((pair, number))
    return {
        length: Pairs(
            torch.tensor([pair.clean for pair, _ in some]),
            torch.tensor([pair.patch for pair, _ in some]),
            torch.tensor([pair.answer for pair, _ in some]),
            torch.tensor([pair.wrong for pair, _ in some]),
            torch.tensor([number for _, number in some]),
            first,
            left_out,
        )
        for length, some in sorted(by_length.items())
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
