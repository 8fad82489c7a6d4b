"""Disjoint pairs for finding circuits and for judging them."""

import hashlib
from collections.abc import Sequence

from clustersae.circuits.tasks.pairs import TokenPair

#: Ids of tokens.
Prompt = tuple[int, ...]


def split(
    pairs: Sequence[TokenPair], n_train: int, n_test: int
) -> tuple[list[TokenPair], list[TokenPair]]:
    """Choose pairs for training (finding circuits) and for testing (judging them).

    The clean prompt of a test pair occurs in no training pair, neither clean nor corrupted, and
    the other way round: pairs that share a clean prompt, such as a prompt with two kinds of
    answer, and mirrored pairs stay together. (Corrupted prompts that are nobody's clean prompt
    may be shared: all greater-than pairs of one noun have the same.)

    Which group goes where depends on a hash of its contents, not on the order of the pairs.

    Returns:
        At most `n_train` and `n_test` pairs (ask for one or more of each). Where there are fewer
        than both together, they are shared out in this proportion. There are no test pairs where
        all pairs hang together.
    """
    groups = _groups(pairs)
    wanted = min(n_test, round(len(pairs) * n_test / (n_train + n_test)), len(pairs) - 1)
    train: list[TokenPair] = []
    test: list[TokenPair] = []
    for group in groups:
        (test if len(test) + len(group) <= wanted else train).extend(group)
    if not test and len(groups) > 1 and n_test:
        smallest = min(groups, key=len)
        train = [pair for group in groups if group is not smallest for pair in group]
        test = smallest
    return train[:n_train], test[:n_test]


def linked(pairs: Sequence[TokenPair]) -> list[int]:
    """The group that each pair belongs to, numbered from 0 as they come.

    Pairs hang together that have the same clean prompt, or one the clean prompt of the other as
    its corrupted one: mirrored pairs above all. Prompts are compared without what has moved into
    them from the answers: else one prompt with several answers would be several.
    """
    prompts = [_prompts(pair) for pair in pairs]
    parent = {clean: clean for clean, _ in prompts}

    def root(prompt: Prompt) -> Prompt:
        while parent[prompt] != prompt:
            parent[prompt] = parent[parent[prompt]]  # halves the way for the next one
            prompt = parent[prompt]
        return prompt

    for clean, patch in prompts:
        if patch in parent:
            parent[root(clean)] = root(patch)
    numbers: dict[Prompt, int] = {}
    return [numbers.setdefault(root(clean), len(numbers)) for clean, _ in prompts]


def _groups(pairs: Sequence[TokenPair]) -> list[list[TokenPair]]:
    """Pairs that must stay together, in the order of a hash of their contents."""
    pairs = sorted(pairs, key=_digest)
    groups: dict[int, list[TokenPair]] = {}
    for pair, number in zip(pairs, linked(pairs)):
        groups.setdefault(number, []).append(pair)
    return list(groups.values())


def _prompts(pair: TokenPair) -> tuple[Prompt, Prompt]:
    """The clean and the corrupted one, without what has moved into them from the answers."""
    clean, patch = (prompt[: pair.length - pair.n_moved] for prompt in (pair.clean, pair.patch))
    return clean, patch


def _digest(pair: TokenPair) -> bytes:
    content = (pair.clean, pair.patch, pair.answer, pair.wrong)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).digest()
