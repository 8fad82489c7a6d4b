"""Latents that share their index: those of one SAE on all its layers, or of one root's SAEs."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from clustersae.experiment.clusters import family
from clustersae.runtime.errors import InputError
from clustersae.sae.storage import read_config


class Trained(NamedTuple):
    """An SAE on disk."""

    folder: Path
    variant: str
    name: str
    seed: int
    layers: tuple[int, ...]


class Group(NamedTuple):
    """SAEs of one family and seed, e.g. those that were specialised from `0-4`."""

    name: str  # `0-4`; `@0-4` of specialised SAEs
    seed: int
    saes: list[Trained]  # by their lowest layer


def read_trained(folder: Path) -> Trained:
    """What the SAE in `folder` says of itself."""
    config = read_config(folder)
    return Trained(
        *(folder, config["variant"], config["cluster"], config["seed"]), tuple(config["layers"])
    )


def groups_of(saes: Iterable[Trained]) -> list[Group]:
    """The groups of one arm, by seed and lowest layer.

    Raises:
        InputError: two SAEs of one seed serve the same layer.
    """
    groups: dict[tuple[int, str], Group] = {}
    serving: dict[tuple[int, int], Trained] = {}
    for sae in sorted(saes, key=lambda sae: (sae.seed, sae.layers)):
        for layer in sae.layers:
            first = serving.setdefault((sae.seed, layer), sae)
            if first is not sae:
                raise InputError(
                    f"{first.folder} and {sae.folder} both serve layer {layer}: an arm has one SAE"
                    " per layer and seed. Leave one of them out."
                )
        name = family(sae.name)
        groups.setdefault((sae.seed, name), Group(name, sae.seed, [])).saes.append(sae)
    return list(groups.values())
