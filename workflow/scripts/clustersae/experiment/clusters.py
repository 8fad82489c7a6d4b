"""The spelling of clusters and of the SAEs that read them.

A cluster is a set of layers, written as inclusive runs: `3`, `0-2`, `4-5+7`. Folders are named so,
and names of folders end at 255 bytes: a set of so many runs that this takes more than 100
characters is written as the number of which bit l says that layer l is in it, `x` and hexadecimal
digits. (A set of 80 layers can have 27 runs, which take 160 characters; its number takes 20.)

An SAE is named by the cluster that it reads and, if it did not start from scratch, by where it
started: `3@0-4` was trained on from the SAE of cluster `0-4`; `3~0-2` started from the SAE of layer
2, that from that of layer 1, and that from that of layer 0, which began from scratch. `3~4-5` came
the other way, from layer 5 by layer 4.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from clustersae.runtime.errors import InputError

_LAYER = r"\d{1,4}"  # of four digits at most: a name cannot stand for more layers than memory holds
#: Matches every canonical name (and some others, which `parse_cluster` refuses).
PATTERN = rf"(?:{_LAYER}(?:-{_LAYER})?(?:\+{_LAYER}(?:-{_LAYER})?)*|x[0-9a-f]{{2,250}})"
#: Characters of a name in runs; that of an SAE has two names at most.
LONGEST = 100
#: Separates an SAE's cluster from the SAE that it started from.
FROM = "@"
#: Separates an SAE's layer from the layers that its weights came through, one after the other.
VIA = "~"
#: Matches the name of every SAE.
SAE_PATTERN = rf"{PATTERN}(?:[{FROM}{VIA}]{PATTERN})?"


def cluster_name(layers: Iterable[int]) -> str:
    """The canonical name of a set of layers, e.g. (7, 4, 5) -> "4-5+7"."""
    ordered = sorted(set(layers))
    if not ordered or ordered[0] < 0:
        raise InputError(f"A cluster is a non-empty set of layer indices, not {ordered}.")
    runs = []
    for _, run in groupby(enumerate(ordered), key=lambda item: item[1] - item[0]):
        members = [layer for _, layer in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    name = "+".join(runs)
    return name if len(name) <= LONGEST else f"x{sum(1 << layer for layer in ordered):x}"


def parse_cluster(name: str) -> tuple[int, ...]:
    """The layers of a cluster, ascending.

    Raises:
        InputError: `name` is not the canonical spelling, so two names never mean one set.
    """
    if not re.fullmatch(PATTERN, name):
        raise InputError(
            f"{name!r} is not a cluster: write runs of layers such as 3, 0-2 or 4-5+7."
        )
    layers = _bits(int(name[1:], 16)) if name.startswith("x") else _members(name)
    if not layers or cluster_name(layers) != name:
        canonical = f": write {cluster_name(layers)}" if layers else ""
        raise InputError(f"{name!r} is not the canonical name of a cluster{canonical}.")
    return tuple(layers)


def _members(name: str) -> list[int]:
    layers: list[int] = []
    for run in name.split("+"):
        first, _, last = run.partition("-")
        layers.extend(range(int(first), int(last or first) + 1))
    return layers


def _bits(number: int) -> list[int]:
    return [place for place in range(number.bit_length()) if number >> place & 1]


def layers_of(sae: str) -> tuple[int, ...]:
    """The layers that an SAE reads: (3,) for `3@0-4` and for `3~0-2`.

    Raises:
        InputError: a cluster of the name is not canonical, the first is no part of the second, or
            a layer does not lie beyond all those that its weights came through.
    """
    if VIA in sae:
        return (_transfer(sae)[0],)
    own, separator, start = sae.partition(FROM)
    layers = parse_cluster(own)
    if separator and not set(layers) < set(parse_cluster(start)):
        raise InputError(
            f"{sae!r} is not the name of an SAE: {own} is no part of {start}, so it cannot start"
            " from that SAE."
        )
    return layers


def parent(name: str) -> str:
    """What an SAE (or its variant) started from: `0-4` for `3@0-4`, "" if from scratch."""
    return name.partition(FROM)[2]


def start_of(variant: str, name: str) -> tuple[str, str] | None:
    """(variant, name) of the SAE that another one started from; None if from scratch.

    `3~0-2` of variant `tokens-1of5~base` started from `2~0-1` of the same variant, and in the end
    from `0` of variant `base`.
    """
    if FROM in name:
        return parent(variant), parent(name)
    if VIA not in name:
        return None
    _, chain = _transfer(name)
    if len(chain) == 1:
        return variant.partition(VIA)[2], str(chain[0])
    return variant, transferred_name(chain)


def transferred_name(chain: Sequence[int]) -> str:
    """The name of the last SAE of a chain of layers, each started from the one before.

    (0, 1, 2, 3) -> "3~0-2"; (5, 4) -> "4~5"; the first of a chain is its layer's own: (0,) -> "0".
    """
    *before, own = chain
    return f"{own}{VIA}{cluster_name(before)}" if before else str(own)


def _transfer(name: str) -> tuple[int, list[int]]:
    """The layer of `3~0-2`, and those that its weights came through, from scratch on."""
    own, _, through = name.partition(VIA)
    layer, *others = parse_cluster(own)
    chain = list(parse_cluster(through))
    if layer < chain[0]:
        chain.reverse()
    if others or chain[0] <= layer <= chain[-1] or chain[-1] <= layer <= chain[0]:
        raise InputError(
            f"{name!r} is not the name of an SAE: one layer can take over weights from layers that"
            " all lie before it, or all behind it."
        )
    return layer, chain


def family(name: str) -> str:
    """What SAEs with latents in common share: `@0-4` for `3@0-4`; else an SAE's own name."""
    return FROM + parent(name) if FROM in name else name
