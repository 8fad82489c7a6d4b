"""All that is measured of the circuits in one set of dictionaries, as rows of tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from clustersae.circuits.ablation import Ablation
from clustersae.circuits.attribution import attributed_effects, exact_effects
from clustersae.circuits.controls import random_scores
from clustersae.circuits.curves import curve, distances, log_sizes, log_weights
from clustersae.circuits.dictionaries import Dictionaries
from clustersae.circuits.faithfulness import Evaluation, Sweep
from clustersae.circuits.nodes import Errors, Nodes, top
from clustersae.circuits.recording import CleanRun, Recording
from clustersae.models.residual import ResidualStream
from clustersae.runtime.log import Progress

Row = dict[str, Any]


@dataclass(frozen=True)
class CircuitSettings:
    """Which circuits are measured, and how."""

    sizes: int = 16
    """Numbers of nodes N, evenly spaced in log N."""
    max_nodes: int | None = None
    """The largest N; None: as many as the streams have dimensions, n_layers · d_model."""
    errors: Sequence[Errors] = ("ablated", "nodes", "kept")
    """What becomes of the errors; the first is the one that random circuits are measured with."""
    ablations: Sequence[Ablation] = ("mean", "zero", "resample")
    """What stands in for nodes outside a circuit; the first as with `errors`."""
    exact_nodes: int = 20
    """Nodes whose effect is measured exactly as well."""
    seed: int = 0
    """Of the draws of `resample`."""


class Measured(NamedTuple):
    """Rows of the three tables of one set of dictionaries."""

    curves: list[Row]
    prompts: list[Row]
    nodes: list[Row]


def measure_circuits(
    stream: ResidualStream,
    dictionaries: Dictionaries,
    recordings: Sequence[Recording],
    runs: Sequence[CleanRun],
    settings: CircuitSettings,
    control_seed: int,
) -> Measured:
    """Find circuits on the training prompts and judge them on the test prompts.

    Args:
        control_seed: of the random circuits.
    """
    n_dimensions = len(dictionaries) * runs[0].x.shape[-1]
    sizes = log_sizes(settings.max_nodes or n_dimensions, settings.sizes)
    effects = attributed_effects(stream, dictionaries, recordings)
    measured = Measured([], [], _nodes(stream, dictionaries, recordings, effects, settings))
    groups = groups_of_prompts(runs)
    # For every ablation one with all latents, and one for each way with errors; one is random.
    n_sweeps = len(settings.ablations) * (1 + len(settings.errors)) + 1
    progress = Progress(f"Measuring circuits, seed {control_seed}", n_sweeps)
    for ablation in settings.ablations:
        evaluation = Evaluation(
            stream, dictionaries, recordings, runs, ablation, seed=settings.seed
        )
        latents = all_latents(evaluation)
        progress.update()
        for control, errors, scores in _rankings(effects, ablation, settings, control_seed):
            sweep = sweep_capped(evaluation, scores, sizes, errors)
            name = {"control": control, "errors": errors, "ablation": ablation}
            measured.curves.extend(name | row for row in _curve_rows(sweep))
            measured.prompts.extend(name | row for row in _prompt_rows(sweep, latents, groups))
            progress.update()
    progress.close()
    return measured


def _rankings(
    effects: torch.Tensor, ablation: Ablation, settings: CircuitSettings, control_seed: int
) -> Iterator[tuple[str, Errors, torch.Tensor]]:
    for errors in settings.errors:
        yield "none", errors, effects
    if ablation == settings.ablations[0]:
        yield "random", settings.errors[0], random_scores(effects, control_seed)


def sweep_capped(
    evaluation: Evaluation, scores: torch.Tensor, sizes: Sequence[int], errors: Errors
) -> Sweep:
    """`evaluation.sweep` at sizes that may exceed the largest circuit, which then stands for them.

    Narrower dictionaries have fewer nodes; their areas must be over the same sizes as those of
    others.
    """
    capped = np.minimum(sizes, evaluation.nodes.candidates(errors))
    distinct, places = np.unique(capped, return_inverse=True)
    sweep = evaluation.sweep(scores, distinct.tolist(), errors)
    return sweep._replace(
        sizes=np.asarray(sizes), circuit=sweep.circuit[places], complement=sweep.complement[places]
    )


def all_latents(evaluation: Evaluation) -> np.ndarray:
    """m with every latent and without any error, [n_prompts]: what the SAEs alone carry.

    No circuit is searched for, so this is the errors' doing alone.
    """
    largest = evaluation.nodes.candidates("ablated")
    scores = torch.zeros(evaluation.nodes.n_nodes)
    return evaluation.sweep(scores, [largest], "ablated").circuit[0]


def _curve_rows(sweep: Sweep) -> Iterator[Row]:
    faithfulness, completeness = curve(sweep, "faithfulness"), curve(sweep, "completeness")
    for size, *values in zip(sweep.sizes.tolist(), faithfulness.tolist(), completeness.tolist()):
        yield {"size": size, "faithfulness": values[0], "completeness": values[1]}


def groups_of_prompts(runs: Sequence[CleanRun]) -> list[int]:
    """Which test prompts hang together, in the order of the runs, numbered as they come."""
    numbers: dict[int, int] = {}
    found = (group for run in runs for group in run.pairs.group.tolist())
    return [numbers.setdefault(group, len(numbers)) for group in found]


def _prompt_rows(sweep: Sweep, latents: np.ndarray, groups: Sequence[int]) -> Iterator[Row]:
    """m(M), m(∅), the means over log N from which areas and distances are made, and
    `all_latents`; with the group of every prompt."""
    weights = log_weights(sweep.sizes)
    columns = {
        "full": sweep.full,
        "empty": sweep.empty,
        "circuit": weights @ sweep.circuit,
        "complement": weights @ sweep.complement,
        "distance": distances(sweep),
        "latents": latents,
    }
    for prompt, values in enumerate(zip(*(column.tolist() for column in columns.values()))):
        yield {"prompt": prompt, "group": groups[prompt], **dict(zip(columns, values))}


def _nodes(
    stream: ResidualStream,
    dictionaries: Dictionaries,
    recordings: Sequence[Recording],
    effects: torch.Tensor,
    settings: CircuitSettings,
) -> list[Row]:
    """The nodes of the largest effects, first of all those whose effect is measured exactly."""
    nodes = Nodes(dictionaries)
    numbers = top(effects, max(settings.exact_nodes, len(dictionaries)))
    measured = exact_effects(stream, dictionaries, recordings, numbers[: settings.exact_nodes])
    exact = [*measured.tolist(), *[None] * (len(numbers) - len(measured))]
    return [
        {"rank": rank, **nodes.node(number)._asdict(), "effect": effects[number].item(), "exact": e}
        for rank, (number, e) in enumerate(zip(numbers, exact))
    ]
