"""Arms: the ways of covering every layer with SAEs that an experiment compares."""

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import pandas as pd

from clustersae.clusters import parse_cluster
from clustersae.errors import InputError

PER_LAYER = "per-layer"
SINGLE = "single"
CONTROLS = ("even", "random")
EQUAL_EXPOSURE = "equal-exposure"
#: Variants of the per-layer SAEs that spend the compute of K SAEs on all L layers.
EQUAL_COMPUTE = re.compile(r"(?P<kind>fewer-tokens|narrower)-(?P<count>\d+)of(?P<layers>\d+)")


class Arm(NamedTuple):
    """One way of covering all layers.

    Attributes:
        name: `complete-3`, `per-layer (fewer-tokens-3of6)`.
        method: of the partition; for `per-layer` and `single` their own name.
        count: number of SAEs.
        matched_count: the K whose training compute the arm is meant to spend; `count`, but for
            equal-compute variants.
        role: baseline, main (the method under study, and `single`), control, equal-compute,
            equal-exposure or alternative (another clustering method).
        saes: (variant, cluster) of each SAE. A single-layer SAE of `equal-exposure` is the base
            one: exposure scales with the number of layers.
    """

    name: str
    partition: str
    variant: str
    method: str
    count: int
    matched_count: int
    role: str
    saes: tuple[tuple[str, str], ...]


def list_arms(
    description: dict[str, Any],
    evaluated: Collection[tuple[str, str]],
    partitions: Sequence[str],
    main_method: str,
) -> list[Arm]:
    """The per-layer baseline, the requested partitions, and the variants that were evaluated.

    Args:
        description: `partitions.json`.
        evaluated: (variant, cluster) of every SAE with a reconstruction file.
        partitions: names of the partitions asked for. One with as many clusters as layers is the
            baseline and no arm of its own; likewise one with a single cluster beside `single`.
        main_method: method whose K is to be chosen.

    Raises:
        InputError: a requested partition is unknown, or one of its SAEs was not evaluated.
    """
    known = description["partitions"]
    wanted = list(dict.fromkeys([PER_LAYER, *partitions]))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(
            f"The partition {unknown[0]} is not in partitions.json, which has {', '.join(known)}."
        )
    # With one SAE per layer, or one for all, every method is the same arm.
    plain = [name for name in (PER_LAYER, SINGLE) if name in wanted]
    trivial = {int(known[name]["count"]): name for name in plain}
    wanted = [name for name in wanted if trivial.get(int(known[name]["count"]), name) == name]
    arms = [_arm(name, "base", known[name], main_method) for name in wanted]
    main = [arm.partition for arm in arms if arm.role == "main"]
    for variant in sorted({variant for variant, _ in evaluated} - {"base"}):
        # Clusters shared with a control would make an arm that nobody asked for.
        candidates = [PER_LAYER] if EQUAL_COMPUTE.fullmatch(variant) else main
        found = [_arm(name, variant, known[name], main_method) for name in candidates]
        arms += [arm for arm in found if set(arm.saes) <= set(evaluated) and _own(arm)]
    for arm in arms:
        missing = [sae for sae in arm.saes if sae not in evaluated]
        if missing:
            variant, cluster = missing[0]
            raise InputError(
                f"The arm {arm.name} needs the SAE of cluster {cluster} (variant {variant}), which"
                " has no reconstruction file."
            )
    return arms


def _own(arm: Arm) -> bool:
    """Whether an arm has an SAE of its own variant (equal exposure of singletons has none)."""
    return any(variant == arm.variant for variant, _ in arm.saes)


def _arm(name: str, variant: str, partition: dict[str, Any], main_method: str) -> Arm:
    count = int(partition["count"])
    method = name if name in (PER_LAYER, SINGLE) else partition["method"]
    equal_compute = EQUAL_COMPUTE.fullmatch(variant)
    if equal_compute:
        role = "equal-compute"
    elif variant == EQUAL_EXPOSURE:
        role = "equal-exposure"
    elif name == PER_LAYER:
        role = "baseline"
    elif method in (main_method, SINGLE):
        role = "main"
    else:
        role = "control" if method in CONTROLS else "alternative"
    return Arm(
        name=name if variant == "base" else f"{name} ({variant})",
        partition=name,
        variant=variant,
        method=method,
        count=count,
        matched_count=int(equal_compute["count"]) if equal_compute else count,
        role=role,
        saes=tuple((_variant_of(variant, cluster), cluster) for cluster in partition["clusters"]),
    )


def _variant_of(variant: str, cluster: str) -> str:
    alone = len(parse_cluster(cluster)) == 1
    return "base" if variant == EQUAL_EXPOSURE and alone else variant


def arm_columns(arm: Arm) -> dict[str, Any]:
    """The columns that name an arm in every table."""
    return {
        "arm": arm.name,
        "partition": arm.partition,
        "variant": arm.variant,
        "method": arm.method,
        "role": arm.role,
        "count": arm.count,
        "matched_count": arm.matched_count,
    }


def select(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """The rows of a per-SAE frame (columns variant, cluster) that belong to the arm's SAEs."""
    wanted = pd.MultiIndex.from_tuples(arm.saes)
    return frame[pd.MultiIndex.from_frame(frame[["variant", "cluster"]]).isin(wanted)]
