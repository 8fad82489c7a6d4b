"""The plan of an experiment: every arm, the SAEs that serve it, and what each of them starts from.

It is derived once, from the section `arms` and the partitions, and written to plan.json. Whatever
collects reads that file; nothing derives arms a second time.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from clustersae.experiment.arms import (
    PARTITION_PATTERN,
    PER_LAYER,
    SAE,
    SINGLE,
    TRANSFERS,
    Arm,
    arm_of,
    arm_of_roots,
    baseline,
    budget_variant,
    has_crosscoder,
    measured_as,
    partition_name,
    specialised_name,
    transfer_variant,
    with_ancestors,
)
from clustersae.experiment.clusters import layers_of, parent, start_of
from clustersae.experiment.sae_settings import count_steps, own_batch_size
from clustersae.experiment.variants import (
    BASE,
    CROSSCODER,
    EQUAL_EXPOSURE,
    EVERY_LAYER,
    kind_of,
    layers_at_once,
    scaled_variant,
    variant_scales,
)
from clustersae.experiment.variants import PATTERN as VARIANT_PATTERN
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_object

#: A model's settings: its sections `arms`, `sae` and so on.
Settings = Mapping[str, Any]
#: What a feature browser may show → the role of such arms.
BROWSED = {"per-layer": "baseline", "shared": "main", "specialised": "specialised"}
#: Budgets of specialised arms that `auto` chooses from.
AUTO_BUDGETS = (0.2, 0.3, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Candidate:
    """An arm that `auto` may choose, and the short training that stands for it.

    Attributes:
        family: shared or specialised.
        entry: what choosing it adds to the family's list in the section `arms`.
        pilot: the arm of the same clusters, trained for `arms.pilot_fraction` of the budget.
    """

    family: str
    entry: Any
    pilot: Arm


@dataclass(frozen=True)
class Plan:
    """What plan.json holds.

    What is derived from it is so once: a dry run of hundreds of jobs asks for it a thousand times.

    Attributes:
        n_layers: of the language model.
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

        Args:
            kinds: of `BROWSED`: per-layer, shared and specialised, those with what they started
                from.
        """
        roles = {BROWSED[kind] for kind in kinds}
        arms = [arm for arm in self.arms if arm.role in roles]
        roots = self.root_arms if "specialised" in roles else []
        same = measured_as([*self.arms, *roots])
        return list(dict.fromkeys(same[arm.variant, arm.partition] for arm in [*arms, *roots]))

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
    tokens, _ = variant_scales(variant, len(layers))
    start = start_of(variant, name)
    at_once = layers_at_once(variant, len(layers))
    return {
        **{"variant": variant, "sae": name, "layers": list(layers)},
        "starts_from": list(start) if start else None,
        "training_tokens": _trained(sae, variant, tokens) * at_once,
    }


def _trained(sae: Mapping[str, Any], variant: str, scale: float) -> int:
    """Rows of a training: whole batches.

    Raises:
        InputError: that is less than one.
    """
    steps = count_steps(sae, variant, scale)
    return steps * own_batch_size(sae, sae["training_tokens"] * scale)


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


def make_plan(
    description: Mapping[str, Any], settings: Settings, auto: dict[str, Any] | None = None
) -> Plan:
    """All arms that the section `arms` asks for.

    Args:
        description: the content of partitions.json.
        settings: one model's settings; its sections `arms` and `sae` count.
        auto: what pilots have settled; its `entry` is added to the section.

    Raises:
        InputError: a number of clusters that the model cannot have, or an SAE that would be
            trained on less than a batch.
    """
    asked, n_layers = settings["arms"], description["n_layers"]
    shared = asked["shared"]
    counts = [*shared["counts"], *_chosen(auto, "shared")]
    starts = [*asked["specialised"], *_chosen(auto, "specialised")]
    pairs = [
        (BASE, PER_LAYER),
        *((BASE, partition_name(m, k, n_layers)) for m in shared["methods"] for k in counts),
        *((BASE, name) for name in _controls(asked["controls"], n_layers)),
        *_per_layer(asked, starts),
        *(
            (EQUAL_EXPOSURE, partition_name(shared["methods"][0], count, n_layers))
            for count in asked["equal_exposure"]
        ),
        *_specialised(description, settings, starts),
        *_transfers(asked["transfer"], n_layers),
        *((scaled_variant(EVERY_LAYER, budget), SINGLE) for budget in asked["mlsae"]),
        *_crosscoders(asked["crosscoder"], shared["methods"][0], n_layers),
    ]
    method = shared["methods"][0]
    arms = [arm_of(description, *pair, method) for pair in dict.fromkeys(pairs)]
    arms = [arm for arm in arms if arm.role != EQUAL_EXPOSURE or _own(arm)]
    if auto and auto["family"]:
        auto = {**auto, "arm": _arm_of_pilots(description, settings, auto)}
    return _checked(Plan(n_layers, tuple(settings["sae"]["seeds"]), tuple(arms), auto), settings)


def _arm_of_pilots(
    description: Mapping[str, Any], settings: Settings, auto: Mapping[str, Any]
) -> str:
    """The name of the arm that pilots have chosen, whether or not it is asked for anyway."""
    method, entry = settings["arms"]["shared"]["methods"][0], auto["entry"]
    if auto["family"] == "shared":
        pair = (BASE, partition_name(method, entry, description["n_layers"]))
    else:
        (pair,) = _specialised(description, settings, [entry])
    return arm_of(description, *pair, method).name


def _chosen(auto: Mapping[str, Any] | None, family: str) -> list[Any]:
    return [auto["entry"]] if auto and auto["family"] == family else []


def _controls(controls: Mapping[str, Any], n_layers: int) -> list[str]:
    """Names of the controls; draws of the random one after the first are `random-3.1` and so on."""
    names = []
    for method, count in product(controls["methods"], controls["counts"]):
        draws = controls["draws"] if method == "random" and 1 < count < n_layers else 1
        name = partition_name(method, count, n_layers)
        names += [name, *(f"{name}.{draw}" for draw in range(1, draws))]
    return [name for name in names if name not in ("single", PER_LAYER)]


def _per_layer(asked: Mapping[str, Any], starts: Sequence[Mapping[str, Any]]) -> list[SAE]:
    """Per-layer SAEs at all budgets asked for, and at those of specialised arms and rivals."""
    budgets = {
        "tokens": [
            *asked["per_layer"],
            *(budget for entry in starts for budget in entry["budgets"]),
            *asked["transfer"]["budgets"],
            *asked["mlsae"],
            *asked["crosscoder"]["budgets"],
        ],
        "narrower": asked["narrower"],
    }
    return [
        (scaled_variant(kind, budget), PER_LAYER)
        for kind, values in budgets.items()
        for budget in values
    ]


def _specialised(
    description: Mapping[str, Any], settings: Settings, starts: Sequence[Mapping[str, Any]]
) -> list[SAE]:
    method, n_layers = settings["arms"]["shared"]["methods"][0], description["n_layers"]
    share = settings["sae"]["specialise"]["shared_fraction"]
    pairs = []
    for entry in starts:
        partition = specialised_name(method, entry["from"], n_layers)
        pairs += [
            (budget_variant(description, partition, budget, share), partition)
            for budget in entry["budgets"]
            if entry["from"] < n_layers
        ]
    return pairs


def _transfers(asked: Mapping[str, Any], n_layers: int) -> list[SAE]:
    """Both directions at every budget; one layer has no neighbour."""
    if n_layers == 1:
        return []
    return [
        (transfer_variant(n_layers, budget), TRANSFERS[direction])
        for direction in asked["directions"]
        for budget in asked["budgets"]
    ]


def _crosscoders(asked: Mapping[str, Any], method: str, n_layers: int) -> list[SAE]:
    """Every number of clusters at every budget; of one layer a crosscoder is its SAE."""
    return [
        (scaled_variant(CROSSCODER, budget), partition_name(method, count, n_layers))
        for count in asked["counts"]
        for budget in asked["budgets"]
        if count < n_layers
    ]


def _own(arm: Arm) -> bool:
    """Whether an arm has an SAE of its own variant (equal exposure of singletons has none)."""
    return any(variant == arm.variant for variant, _ in arm.saes)


def candidates(description: Mapping[str, Any], settings: Settings) -> list[Candidate]:
    """The arms that `arms.auto` chooses from, cheapest first."""
    asked, n_layers = settings["arms"], description["n_layers"]
    method, fraction = asked["shared"]["methods"][0], asked["pilot_fraction"]
    found = []
    if "shared" in asked["auto"]:
        variant = scaled_variant("tokens", fraction)
        for count in range(1, n_layers):
            partition = partition_name(method, count, n_layers)
            pilot = arm_of(description, variant, partition, method)
            found.append(Candidate("shared", count, pilot))
    if "specialised" in asked["auto"]:
        share = settings["sae"]["specialise"]["shared_fraction"]
        for budget, root in product(AUTO_BUDGETS, auto_roots(n_layers)):
            partition = specialised_name(method, root, n_layers)
            variant = budget_variant(description, partition, budget * fraction, share)
            pilot = arm_of(description, variant, partition, method)
            entry = {"from": root, "budgets": [budget]}
            found.append(Candidate("specialised", entry, pilot))
    return sorted(found, key=lambda each: each.pilot.matched_count)


def auto_roots(n_layers: int) -> list[int]:
    """Numbers of shared SAEs that `auto` starts specialised ones from."""
    return sorted({1, 2, max(1, round(n_layers / 4))} & set(range(1, n_layers)))


def make_pilots(description: Mapping[str, Any], settings: Settings) -> Plan:
    """The short trainings that `arms.auto` is settled by: per-layer, and every candidate."""
    method = settings["arms"]["shared"]["methods"][0]
    variant = scaled_variant("tokens", settings["arms"]["pilot_fraction"])
    alone = arm_of(description, variant, PER_LAYER, method)
    arms = (alone, *(each.pilot for each in candidates(description, settings)))
    seeds = tuple(settings["sae"]["seeds"])
    return _checked(Plan(description["n_layers"], seeds, arms), settings)


def _checked(plan: Plan, settings: Settings) -> Plan:
    """The plan, if every SAE of it gets at least one batch."""
    for variant, name in plan.trained_saes:
        tokens, _ = variant_scales(variant, len(layers_of(name)))
        _trained(settings["sae"], variant, tokens)
    return plan
