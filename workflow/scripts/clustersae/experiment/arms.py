"""Arms: the ways of covering every layer with SAEs that an experiment compares.

Imported by the Snakefile as well as by scripts, so it needs the standard library alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from clustersae.experiment.clusters import FROM, VIA, layers_of, start_of, transferred_name
from clustersae.experiment.variants import (
    BASE,
    CROSSCODER,
    EQUAL_EXPOSURE,
    EVERY_LAYER,
    fraction_near,
    kind_of,
    scaled_variant,
    share_of,
    variant_scales,
)
from clustersae.runtime.errors import InputError

PER_LAYER = "per-layer"
SINGLE = "single"
CONTROLS = ("even", "random")
#: Partitions of one SAE for each layer, each of which starts from that of the layer before (or
#: behind): by the direction in which weights go through the layers.
TRANSFERS = {"forwards": "transfer-forwards", "backwards": "transfer-backwards"}
_PARTITION = r"[a-z][a-z-]*(?:-\d+(?:\.\d+)?)?"
#: Matches every partition's name, and that of specialised arms: `complete-3`, `per-layer@single`.
PARTITION_PATTERN = rf"{_PARTITION}(?:{FROM}{_PARTITION})?"
#: (variant, name) of an SAE.
SAE = tuple[str, str]


@dataclass(frozen=True)
class Arm:
    """One way of covering all layers.

    Attributes:
        partition: `complete-3`; of specialised arms also where they start: `per-layer@complete-3`.
        variant: of its SAEs; of specialised arms `{of the layers' SAEs}@{of the shared ones}`, of
            transfers `{of the others}~{of the first layer's}`.
        method: of the partition; for `per-layer` and `single` their own name.
        count: number of SAEs that serve the layers.
        matched_count: training in units of one full per-layer SAE, so that arms with the same
            number spend the same; for `base` partitions it is `count`.
        role: baseline, main (the method under study, and `single`), specialised, control,
            equal-compute (per-layer SAEs that are narrower, or trained for shorter or longer),
            equal-exposure, rival (another published way to save training: transfer between
            neighbours, one SAE that reads every token at every layer, crosscoders) or alternative
            (another clustering method).
        saes: (variant, name) of each SAE that serves a layer. A single-layer SAE of
            `equal-exposure` is the base one: exposure scales with the number of layers; that of
            `crosscoder` is the per-layer one of as many tokens.
    """

    partition: str
    variant: str
    method: str
    count: int
    matched_count: float
    role: str
    saes: tuple[SAE, ...]

    @property
    def name(self) -> str:
        """`complete-3`, `per-layer (tokens-1of2)`."""
        return self.partition if self.variant == BASE else f"{self.partition} ({self.variant})"

    @property
    def trained(self) -> tuple[SAE, ...]:
        """The SAEs that the arm needs, those that others started from included, each once."""
        return with_ancestors(self.saes)


def with_ancestors(saes: Iterable[SAE]) -> tuple[SAE, ...]:
    """`saes` and what each of them started from, none twice."""
    found: dict[SAE, None] = {}
    for each in saes:
        sae: SAE | None = each
        while sae is not None:
            found[sae] = None
            sae = start_of(*sae)
    return tuple(found)


def partition_name(method: str, count: int, n_layers: int) -> str:
    """The name of a method's partition; all methods agree on K = 1 and K = L."""
    if not 1 <= count <= n_layers:
        raise InputError(
            f"The configuration asks for {count} clusters, but {n_layers} layers are studied:"
            f" use counts from 1 to {n_layers}."
        )
    if count == n_layers:
        return PER_LAYER
    return SINGLE if count == 1 else f"{method}-{count}"


def specialised_name(method: str, root: int, n_layers: int) -> str:
    """The partition of an arm that goes from `root` shared SAEs to one for each layer."""
    return f"{PER_LAYER}{FROM}{partition_name(method, root, n_layers)}"


def saes_of(description: Mapping[str, Any], variant: str, partition: str) -> tuple[SAE, ...]:
    """(variant, name) of the SAEs that serve the layers in one arm, ordered as its clusters.

    Args:
        description: the content of partitions.json.

    Raises:
        InputError: a partition is unknown, or does not refine the one that it starts from.
    """
    if FROM in partition:
        return _specialised_saes(description, variant, partition)
    if partition in TRANSFERS.values():
        return _transferred_saes(description, variant, partition)
    alone = variant  # of clusters of one layer
    if variant == EQUAL_EXPOSURE:
        alone = BASE
    elif kind_of(variant) == CROSSCODER:
        alone = scaled_variant("tokens", share_of(variant) or 1)
    return tuple(
        (variant if len(layers_of(cluster)) > 1 else alone, cluster)
        for cluster in _clusters(description, partition)
    )


def _specialised_saes(
    description: Mapping[str, Any], variant: str, partition: str
) -> tuple[SAE, ...]:
    own, _, shared = variant.partition(FROM)
    below, roots = (_clusters(description, name) for name in partition.split(FROM))
    saes = []
    for cluster in below:
        inside = set(layers_of(cluster))
        root = next(each for each in roots if inside <= set(layers_of(each)))
        if root != cluster:
            saes.append((variant, f"{cluster}{FROM}{root}"))
        else:  # a root that is a single layer gets both trainings in one
            share = sum((share_of(each) or Fraction(1) for each in (own, shared)), Fraction())
            saes.append((scaled_variant("tokens", share), cluster))
    return tuple(saes)


def _transferred_saes(
    description: Mapping[str, Any], variant: str, partition: str
) -> tuple[SAE, ...]:
    """Ordered as the layers, whichever of them is the first of the chain."""
    layers = [layers_of(cluster)[0] for cluster in _clusters(description, PER_LAYER)]
    if partition == TRANSFERS["backwards"]:
        layers.reverse()
    first = variant.partition(VIA)[2]
    saes = [
        (variant if number else first, transferred_name(layers[: number + 1]))
        for number in range(len(layers))
    ]
    return tuple(sorted(saes, key=lambda sae: layers_of(sae[1])))


def _clusters(description: Mapping[str, Any], partition: str) -> list[str]:
    known = description["partitions"]
    if partition not in known:
        raise InputError(
            f"The partition {partition} is not in partitions.json, which has {', '.join(known)}."
        )
    return known[partition]["clusters"]


def budget_variant(budget: float, shared_fraction: float) -> str:
    """The variant by which a specialised arm trains for `budget` of the per-layer baseline.

    Every layer gets the same, and the whole arm reads as many tokens as per-layer SAEs do for that
    budget: shared SAEs read the first part of them once for each layer, those that start from them
    the rest.

    Args:
        budget: activations of the whole arm over those of all per-layer SAEs.
        shared_fraction: part of the budget that the shared SAEs get.
    """
    total = fraction_near(budget)
    shared = total * fraction_near(shared_fraction)
    own = scaled_variant("tokens", total - shared)
    return FROM.join((own, scaled_variant(EQUAL_EXPOSURE, shared)))


def transfer_variant(n_layers: int, budget: float) -> str:
    """The variant by which an arm of transfers trains for `budget` of the per-layer baseline.

    The first SAE of the chain is trained in full, as the per-layer one that it is; what is left is
    spread evenly over those that take over from one another.

    Raises:
        InputError: the first SAE alone takes all of the budget.
    """
    rest = fraction_near(budget) * n_layers - 1
    if rest <= 0:
        raise InputError(
            f"arms.transfer asks for a budget of {budget:g}, but the first of {n_layers} SAEs is"
            f" trained in full, which takes {1 / n_layers:.3g}: use budgets above that."
        )
    return VIA.join((scaled_variant("tokens", rest / (n_layers - 1)), BASE))


def arm_of(description: Mapping[str, Any], variant: str, partition: str, main_method: str) -> Arm:
    """The arm whose SAEs have `variant` and follow `partition`."""
    saes = saes_of(description, variant, partition)
    spent = 0.0
    for own, name in with_ancestors(saes):
        tokens, width = variant_scales(own, len(layers_of(name)))
        spent += tokens * width
    return Arm(
        partition=partition,
        variant=variant,
        method=_method(description, variant, partition),
        count=len(saes),
        matched_count=round(spent, 6),
        role=_role(description, variant, partition, main_method),
        saes=saes,
    )


def arm_of_roots(variant: str, partition: str, saes: Iterable[SAE]) -> Arm:
    """The shared SAEs that a specialised arm starts from, as an arm that is looked at alone."""
    saes = tuple(saes)
    spent = sum(variant_scales(own, len(layers_of(name)))[0] for own, name in saes)
    method = SINGLE if partition == SINGLE else partition.rpartition("-")[0]
    return Arm(partition, variant, method, len(saes), round(spent, 6), "root", saes)


def _method(description: Mapping[str, Any], variant: str, partition: str) -> str:
    if FROM in partition:
        return "specialised"
    if kind_of(variant) in (EVERY_LAYER, CROSSCODER):
        return kind_of(variant)
    if partition in (PER_LAYER, SINGLE, *TRANSFERS.values()):
        return partition
    return description["partitions"][partition]["method"]


def _role(description: Mapping[str, Any], variant: str, partition: str, main_method: str) -> str:
    if FROM in partition:
        return "specialised"
    if variant == EQUAL_EXPOSURE:
        return EQUAL_EXPOSURE
    if partition in TRANSFERS.values() or kind_of(variant) in (EVERY_LAYER, CROSSCODER):
        return "rival"
    if partition == PER_LAYER:
        return "baseline" if variant == BASE else "equal-compute"
    method = _method(description, variant, partition)
    if method in (main_method, SINGLE):
        return "main"
    return "control" if method in CONTROLS else "alternative"


def measured_as(arms: Iterable[Arm]) -> dict[tuple[str, str], tuple[str, str]]:
    """(variant, partition) of every arm → that of the first arm with the same SAEs.

    Such arms are measured once: a control is often the partition that it is to be compared with.
    """
    first: dict[frozenset[SAE], tuple[str, str]] = {}
    return {
        (arm.variant, arm.partition): first.setdefault(
            frozenset(arm.saes), (arm.variant, arm.partition)
        )
        for arm in arms
    }


def has_crosscoder(arm: Arm) -> bool:
    """Whether some layers of an arm have no code of their own, which one SAE would give them."""
    return any(kind_of(variant) == CROSSCODER for variant, _ in arm.saes)


def baseline(arms: Sequence[Arm]) -> Arm:
    """The full per-layer SAEs."""
    return next(arm for arm in arms if arm.role == "baseline")
