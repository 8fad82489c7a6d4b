"""The plan of an experiment: every arm, the SAEs that serve it, and what each of them starts from.

It is derived once, from the section `arms` and the partitions, and written to plan.json. Whatever
collects reads that file; nothing derives arms a second time.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clustersae.experiment.arms import (
    PARTITION_PATTERN,
    PER_LAYER,
    SAE,
    Arm,
    arm_of_roots,
    baseline,
    has_crosscoder,
    measured_as,
    with_ancestors,
)
from clustersae.experiment.clusters import layers_of, parent, start_of
from clustersae.experiment.sae_settings import length_of
from clustersae.experiment.variants import CROSSCODER, kind_of, layers_at_once
from clustersae.experiment.variants import PATTERN as VARIANT_PATTERN
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_object

#: What a feature browser may show → the role of such arms.
BROWSED = {"per-layer": "baseline", "shared": "main", "specialised": "specialised"}


@dataclass(frozen=True)
class Plan:
    """What plan.json holds.

    What is derived from it is so once: a dry run of hundreds of jobs asks for it a thousand times.

    Attributes:
        n_layers: that are studied.
        seeds: of every SAE.
        arms: the per-layer baseline first, none twice.
        auto: what pilots have settled, where the configuration asks them; else None. Its `arm` is
            the name of the arm that they have chosen.
    """

    n_layers: int
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    auto: dict[str, Any] | None = None

    @cached_property
    def evaluated_saes(self) -> list[SAE]:
        """(variant, sae) of every SAE that serves a layer in some arm, none twice."""
        return list(dict.fromkeys(sae for arm in self.arms for sae in arm.saes))

    @cached_property
    def trained_saes(self) -> list[SAE]:
        """(variant, sae) of every SAE to train, those that others start from included."""
        return list(with_ancestors(self.evaluated_saes))

    @cached_property
    def measured_arms(self) -> list[tuple[str, str]]:
        """(variant, partition) of every set of SAEs, none twice: arms of the same SAEs are one."""
        return list(dict.fromkeys(measured_as(self.arms).values()))

    @cached_property
    def coded_arms(self) -> tuple[Arm, ...]:
        """The arms in which every layer has a code of its own.

        A crosscoder's is made from all layers of a token, the later ones included: no circuit can
        pass through it, and it does not tell what one layer holds.
        """
        return tuple(arm for arm in self.arms if not has_crosscoder(arm))

    @cached_property
    def interpreted_arms(self) -> list[tuple[str, str]]:
        """Those of `measured_arms` that circuits, features and probes are asked of."""
        return list(dict.fromkeys(measured_as(self.coded_arms).values()))

    @cached_property
    def exported_saes(self) -> list[SAE]:
        """Those of `evaluated_saes` that other tools have a format for."""
        return [sae for sae in self.evaluated_saes if kind_of(sae[0]) != CROSSCODER]

    @cached_property
    def corresponding_arms(self) -> list[tuple[str, str]]:
        """(variant, partition) of the specialised arms, and of the per-layer SAEs beside them."""
        specialised = [arm for arm in self.arms if arm.role == "specialised"]
        compared = [baseline(self.arms), *specialised] if specialised else []
        return [(arm.variant, arm.partition) for arm in compared]

    @cached_property
    def root_arms(self) -> list[Arm]:
        """The SAEs that specialised arms start from, as arms of their own, none twice.

        A root that serves one layer is no SAE apart from the one that it has become. Their
        `matched_count` is what the arm's SAEs were trained before they were specialised.
        """
        found: dict[tuple[str, str], Arm] = {}
        for arm in self.arms:
            if arm.role == "specialised":
                pair = (parent(arm.variant), parent(arm.partition))
                saes = [each for each in arm.trained if each not in arm.saes]
                found[pair] = arm_of_roots(*pair, saes)
        return list(found.values())

    def browsed_arms(self, kinds: Collection[str]) -> list[tuple[str, str]]:
        """(variant, partition) of the arms whose latents are shown, none twice.

        The full per-layer SAEs where no arm is of the kinds: `auto` may choose none.

        Args:
            kinds: of `BROWSED`: per-layer, shared and specialised, those with what they started
                from.
        """
        roles = {BROWSED[kind] for kind in kinds}
        arms = [arm for arm in self.arms if arm.role in roles]
        if kinds and not arms:
            arms = [baseline(self.arms)]
        roots = self.root_arms if "specialised" in roles else []
        same = measured_as([*self.arms, *roots])
        return list(dict.fromkeys(same[arm.variant, arm.partition] for arm in [*arms, *roots]))

    @cached_property
    def baseline_saes(self) -> list[SAE]:
        """(variant, sae) of the per-layer SAEs of full width and training."""
        return list(baseline(self.arms).saes)

    @cached_property
    def shortest_saes(self) -> list[SAE]:
        """(variant, sae) of the per-layer SAEs of full width that were trained least."""
        arms = [
            arm
            for arm in self.arms
            if arm.partition == PER_LAYER and kind_of(arm.variant) != "narrower"
        ]
        return list(min(arms, key=lambda arm: arm.matched_count).saes)

    def arm(self, variant: str, partition: str) -> Arm:
        """The arm of that variant and partition; also what specialised arms started from.

        Raises:
            KeyError: the plan has none.
        """
        try:
            return self._by_pair[variant, partition]
        except KeyError:
            raise KeyError(f"{partition} ({variant})") from None

    @cached_property
    def _by_pair(self) -> dict[tuple[str, str], Arm]:
        arms = [*self.root_arms, *self.arms]  # of two with the same name, the plan's own
        return {(arm.variant, arm.partition): arm for arm in arms}

    def as_json(self, sae: Mapping[str, Any]) -> dict[str, Any]:
        """The content of plan.json.

        Args:
            sae: the section `sae`, for what every SAE is trained on.
        """
        same = measured_as(self.arms)
        names = {(arm.variant, arm.partition): arm.name for arm in self.arms}
        return {
            "n_layers": self.n_layers,
            "seeds": list(self.seeds),
            "auto": self.auto,
            "arms": [
                {
                    "name": arm.name,
                    **{key: getattr(arm, key) for key in _ARM_KEYS},
                    "budget": round(arm.matched_count / self.n_layers, 6),
                    "measured_as": names[same[arm.variant, arm.partition]],
                    "saes": [list(each) for each in arm.saes],
                }
                for arm in self.arms
            ],
            "saes": [_sae_record(sae, *each) for each in self.trained_saes],
        }


_ARM_KEYS = ("partition", "variant", "method", "role", "count", "matched_count")


def _sae_record(sae: Mapping[str, Any], variant: str, name: str) -> dict[str, Any]:
    layers = layers_of(name)
    start = start_of(variant, name)
    batch_size, n_steps = length_of(sae, variant, len(layers))
    at_once = layers_at_once(variant, len(layers))
    return {
        **{"variant": variant, "sae": name, "layers": list(layers)},
        "starts_from": list(start) if start else None,
        "training_tokens": n_steps * batch_size * at_once,
    }


def read_plan(path: str | Path) -> Plan:
    """The plan that `Plan.as_json` has become a file of.

    Raises:
        InputError: the file holds something else; folders are named after what stands in it.
    """
    content = read_object(path)
    try:
        arms = tuple(
            Arm(
                **{key: each[key] for key in _ARM_KEYS},
                saes=tuple((variant, name) for variant, name in each["saes"]),
            )
            for each in content["arms"]
        )
        for arm in arms:
            _check_names(arm)
        return Plan(content["n_layers"], tuple(content["seeds"]), arms, content["auto"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"{path} is not a plan ({error}). Delete it and run again.") from None


def _check_names(arm: Arm) -> None:
    if not re.fullmatch(PARTITION_PATTERN, arm.partition):
        raise InputError(f"{arm.partition!r} is not the name of a partition")
    for variant in (arm.variant, *(own for own, _ in arm.saes)):
        if not re.fullmatch(VARIANT_PATTERN, variant):
            raise InputError(f"{variant!r} is not a variant")
    for _, name in arm.saes:
        layers_of(name)
