"""Prompts of which nothing is left but the token that no SAE has seen."""

import torch

from clustersae.circuits.grouping import matching_lengths
from clustersae.circuits.pairs import Pairs


def pairs(length, first):
    tokens = torch.zeros(5, length, dtype=torch.int64)
    return Pairs(tokens, tokens, tokens[:, 0], tokens[:, 0], torch.arange(5), first)


def test_they_match_nothing():
    for first, expected in ((0, [1, 2]), (1, [2])):
        groups = {length: pairs(length, first) for length in (1, 2)}
        assert matching_lengths(groups, groups) == expected
