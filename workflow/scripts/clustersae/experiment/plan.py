"""Which arms, and so which SAEs, an experiment asks for.

Imported by the Snakefile as well as by scripts, so it needs the standard library alone.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from clustersae.experiment.arms import (
    PER_LAYER,
    SAE,
    Arm,
    arm_of,
    budget_variant,
    measured_as,
    partition_name,
    saes_of,
    specialised_name,
    with_ancestors,
)
from clustersae.experiment.clusters import FROM
from clustersae.experiment.variants import BASE, EQUAL_EXPOSURE, scaled_variant
from clustersae.runtime.files import read_json

#: The sections `clustering`, `sae` and `evaluation` of one model's configuration.
Settings = Mapping[str, Mapping[str, Any]]


#: In the place of a list: what pilot trainings settle.
AUTO = "auto"
#: Shares of per-layer training that `specialise: auto` chooses from.
AUTO_BUDGETS = (0.2, 0.3, 0.4, 0.6, 0.8)


def read_choices(*inputs: Sequence[str | Path]) -> list[dict[str, Any] | None]:
    """What each checkpoint of `settled` wrote; an input without a file stands for no choice."""
    return [read_json(paths[0]) if paths else None for paths in inputs]


def read_arms(
    partitions: str | Path,
    settings: Settings,
    chosen: Sequence[str | Path],
    specialised: Sequence[str | Path],
) -> list[Arm]:
    """The arms of an experiment, for a job that was given the files that decide them.

    Args:
        partitions: partitions.json.
        settings: as for `requested_arms`, not `settled` yet.
        chosen, specialised: the files of `choose_count` and `choose_specialised`, if there are.
    """
    choices = read_choices(chosen, specialised)
    return requested_arms(read_json(partitions), settled(settings, *choices))


def settled(
    settings: Settings,
    count: Mapping[str, Any] | None = None,
    specialised: Mapping[str, Any] | None = None,
) -> Settings:
    """`settings` with what `auto` stands for.

    Args:
        count: what `choose_count` wrote, where clustering.counts is auto.
        specialised: what `choose_specialised` wrote, where clustering.specialise is auto.
    """
    clustering = dict(settings["clustering"])
    if count:
        clustering["counts"] = [count["count"]]
    if specialised:
        entry = {"from": [specialised["from"]], "budgets": [specialised["budget"]]}
        clustering["specialise"] = [entry]
    return {**settings, "clustering": clustering}


def candidates(n_layers: int) -> list[tuple[int, float]]:
    """(number of shared SAEs, budget) that `specialise: auto` chooses from, cheapest first."""
    roots = sorted({1, 2, max(1, round(n_layers / 4))} & set(range(1, n_layers)))
    return [(root, budget) for budget in AUTO_BUDGETS for root in roots]


def pilot_arms(
    description: Mapping[str, Any], settings: Settings
) -> tuple[Arm, dict[tuple[int, float], Arm]]:
    """The short trainings of `specialise: auto`: per-layer, and every candidate.

    Each is trained on clustering.pilot_fraction of the activations of the arm that it stands for.
    """
    clustering, n_layers = settings["clustering"], description["n_layers"]
    fraction, method = clustering["pilot_fraction"], clustering["methods"][0]
    shared = settings["sae"]["specialise"]["shared_fraction"]
    alone = arm_of(description, scaled_variant("tokens", fraction), PER_LAYER, method)
    arms = {}
    for root, budget in candidates(n_layers):
        partition = specialised_name(method, root, n_layers)
        variant = budget_variant(description, partition, budget * fraction, shared)
        arms[root, budget] = arm_of(description, variant, partition, method)
    return alone, arms


def specialised_pilots(description: Mapping[str, Any], settings: Settings) -> list[Arm]:
    """All `pilot_arms` in one list, per-layer first."""
    alone, arms = pilot_arms(description, settings)
    return [alone, *arms.values()]


def pilot_saes(description: Mapping[str, Any], clustering: Mapping[str, Any]) -> list[SAE]:
    """(variant, cluster) of the short trainings of `counts: auto`: the main method, at every K."""
    n_layers, method = description["n_layers"], clustering["methods"][0]
    names = [partition_name(method, count, n_layers) for count in range(1, n_layers + 1)]
    variant = scaled_variant("tokens", clustering["pilot_fraction"])
    return list(dict.fromkeys(sae for name in names for sae in saes_of(description, variant, name)))


def evaluated_saes(arms: list[Arm]) -> list[SAE]:
    """(variant, name) of every SAE that serves a layer in some arm, none twice."""
    return list(dict.fromkeys(sae for arm in arms for sae in arm.saes))


def trained_saes(arms: list[Arm]) -> list[SAE]:
    """(variant, name) of every SAE to train, those that others start from included."""
    return list(with_ancestors(evaluated_saes(arms)))


def spliced_arms(arms: list[Arm]) -> list[tuple[str, str]]:
    """(variant, partition) of every set of SAEs to splice in at all layers at once, none twice."""
    return list(dict.fromkeys(measured_as(arms).values()))


def requested_arms(
    description: Mapping[str, Any],
    settings: Settings,
) -> list[Arm]:
    """The arms to train and compare, the baseline first, none twice.

    Args:
        description: the content of partitions.json.
        settings: the sections `clustering`, `sae` and `evaluation` of one model, `settled`.
    """
    pairs = [
        *((BASE, name) for name in requested_partitions(description, settings)),
        *_per_layer_variants(description, settings),
        *_equal_exposure(description, settings),
        *_specialised(description, settings),
    ]
    main_method = settings["clustering"]["methods"][0]
    arms = [arm_of(description, *pair, main_method) for pair in dict.fromkeys(pairs)]
    return [arm for arm in arms if arm.role != "equal-exposure" or _own(arm)]


def requested_partitions(
    description: Mapping[str, Any],
    settings: Settings,
) -> list[str]:
    """Names of the partitions whose base SAEs are compared, per-layer first, none twice."""
    clustering, n_layers = settings["clustering"], description["n_layers"]
    counts = clustering["counts"]
    control_counts = clustering["control_counts"] or counts
    names = [PER_LAYER]
    names += [partition_name(m, k, n_layers) for m in clustering["methods"] for k in counts]
    names += [
        partition_name(m, k, n_layers)
        for m in clustering["controls"]
        for k in control_counts
        if k > 1
    ]
    return list(dict.fromkeys(names))


def _per_layer_variants(description: Mapping[str, Any], settings: Settings) -> list[SAE]:
    n_layers, evaluation = description["n_layers"], settings["evaluation"]
    variants = []
    for count in evaluation["equal_compute"]:
        variants += [scaled_variant(kind, Fraction(count, n_layers)) for kind in _KINDS]
    shares = [b for entry in settings["clustering"]["specialise"] for b in entry["budgets"]]
    variants += [scaled_variant("tokens", share) for share in (*shares, *evaluation["lengths"])]
    return [(variant, PER_LAYER) for variant in variants]


_KINDS = ("tokens", "narrower")


def _equal_exposure(description: Mapping[str, Any], settings: Settings) -> list[SAE]:
    n_layers, method = description["n_layers"], settings["clustering"]["methods"][0]
    return [
        (EQUAL_EXPOSURE, partition_name(method, count, n_layers))
        for count in settings["evaluation"]["equal_exposure"]
    ]


def _specialised(description: Mapping[str, Any], settings: Settings) -> list[SAE]:
    n_layers, clustering = description["n_layers"], settings["clustering"]
    share = settings["sae"]["specialise"]["shared_fraction"]
    pairs = []
    for entry in clustering["specialise"]:
        for root, budget in product(entry["from"], entry["budgets"]):
            partition = specialised_name(clustering["methods"][0], root, n_layers)
            if partition != f"{PER_LAYER}{FROM}{PER_LAYER}":
                pairs.append((budget_variant(description, partition, budget, share), partition))
    return pairs


def _own(arm: Arm) -> bool:
    """Whether an arm has an SAE of its own variant (equal exposure of singletons has none)."""
    return any(variant == arm.variant for variant, _ in arm.saes)
