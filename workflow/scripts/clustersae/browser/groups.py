"""Whose latents are shown: groups that share their index, and which started from which.

A group is an SAE on all its layers, or the SAEs that were specialised from one root. Groups that
started from a root are shown beside it: latent i of each is what latent i of the root has become.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from clustersae.experiment.arms import SAE, Arm
from clustersae.experiment.clusters import cluster_name, family, layers_of, parent
from clustersae.experiment.plan import Plan
from clustersae.presentation.arms import arm_columns, label
from clustersae.presentation.words import share

#: A cluster's name with more characters is not spelled out.
LONG_NAME = 12


@dataclass(frozen=True)
class Shown:
    """A group on the page.

    Attributes:
        number: its place in the list of all groups, and in the names of its files.
        arm, short: what that is called, at length and in a heading.
        variant, partition: of the arm that it was measured in.
        group: its name there, `0-4` or `@0-4`.
        own_variant: of its SAEs, which an arm may have of several.
        saes: by layer, the name of the SAE that serves it.
        root: number of the group that these latents started from; None if from scratch, or if
            that is not shown.
    """

    number: int
    arm: str
    short: str
    variant: str
    partition: str
    group: str
    own_variant: str
    saes: dict[int, str]
    root: int | None

    @property
    def key(self) -> tuple[str, str, str]:
        """Variant, partition and group, which name it in the files of its features."""
        return self.variant, self.partition, self.group

    @property
    def layers(self) -> list[int]:
        return sorted(self.saes)

    @property
    def title(self) -> str:
        """ "layers 0-4", "layer 3"; of many runs of layers "10 layers, 0 to 27"."""
        name, layers = cluster_name(self.layers), self.layers
        if len(name) > LONG_NAME:
            return f"{len(layers)} layers, {layers[0]} to {layers[-1]}"
        return f"layer{'s' * (len(layers) > 1)} {name}"


def shown_groups(plan: Plan, kinds: Collection[str]) -> list[Shown]:
    """Every group of the arms of these kinds, each SAE once; roots and what started there first.

    An SAE of a single layer that several arms have is shown among the per-layer ones.

    Args:
        kinds: see `Plan.browsed_arms`.
    """
    pairs = plan.browsed_arms(kinds)
    roots = {(arm.variant, arm.partition) for arm in plan.root_arms}
    order = {"root": 0, "specialised": 1, "baseline": 2, "main": 3}
    arms = [plan.arm(*pair) for pair in pairs]
    arms.sort(key=lambda arm: 0 if (arm.variant, arm.partition) in roots else order[arm.role])
    places: dict[SAE, int] = {}
    found: list[Shown] = []
    for arm in arms:
        for group, saes in _families(arm.saes).items():
            variant, first = saes[0]
            if (variant, first) in places:
                continue
            number = len(found)
            places |= dict.fromkeys(saes, number)
            start = (parent(variant), parent(first))
            by_layer = {layer: name for _, name in saes for layer in layers_of(name)}
            of_arm = (*_labels(arm, plan), arm.variant, arm.partition)
            found.append(Shown(number, *of_arm, group, variant, by_layer, places.get(start)))
    return found


def _families(saes: Sequence[SAE]) -> dict[str, list[SAE]]:
    """The groups of one arm; SAEs of one family were trained alike."""
    groups: dict[str, list[SAE]] = {}
    for variant, name in saes:
        groups.setdefault(family(name), []).append((variant, name))
    return groups


def _labels(arm: Arm, plan: Plan) -> tuple[str, str]:
    """What an arm is called, at length and in short, with its training over that of the full
    per-layer SAEs."""
    text = label(pd.Series(arm_columns(arm)))
    if arm.role == "baseline":
        return text, text
    spent = share(arm.matched_count / plan.n_layers)
    before = ", before specialising" if arm.role == "root" else ""
    return f"{text} at {spent} of full training{before}", f"{text}, {spent}"
