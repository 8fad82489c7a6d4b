"""From the section `arms` and the partitions to the plan, and to the pilots that settle `auto`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from clustersae.experiment.arms import (
    PER_LAYER,
    SAE,
    SINGLE,
    TRANSFERS,
    Arm,
    arm_of,
    budget_variant,
    partition_name,
    specialised_name,
    transfer_variant,
)
from clustersae.experiment.clusters import layers_of
from clustersae.experiment.plan import Plan
from clustersae.experiment.sae_settings import length_of
from clustersae.experiment.variants import (
    BASE,
    CROSSCODER,
    EQUAL_EXPOSURE,
    EVERY_LAYER,
    scaled_variant,
)

#: A model's settings: its sections `arms`, `sae` and so on.
Settings = Mapping[str, Any]
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
    # Equal exposure of singletons has no SAE of its own variant.
    arms = [arm for arm in arms if arm.role != EQUAL_EXPOSURE or arm.variant in dict(arm.saes)]
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
            (budget_variant(budget, share), partition)
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
            variant = budget_variant(budget * fraction, share)
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
        length_of(settings["sae"], variant, len(layers_of(name)))
    return plan
