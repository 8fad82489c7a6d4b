"""Partitions that know nothing of the activations: what a distance has to beat."""

import random

from clustersae.clustering.runs import runs_between
from clustersae.clustering.scores import Clusters


def even_clusters(n_layers: int, count: int) -> Clusters:
    """Runs of consecutive layers whose sizes differ by at most one, the longer ones first."""
    size, longer = divmod(n_layers, count)
    return runs_between([run * size + min(run, longer) for run in range(1, count)], n_layers)


def random_clusters(n_layers: int, count: int, seed: int) -> Clusters:
    """Runs of consecutive layers between cuts drawn uniformly without replacement.

    A pure function of its arguments on every Python version: only `Random.random` is guaranteed
    to repeat, so the cuts are drawn by sorting on it.
    """
    draw = random.Random(f"{seed} {count}")
    shuffled = sorted(range(1, n_layers), key=lambda _: draw.random())
    return runs_between(sorted(shuffled[: count - 1]), n_layers)
