"""How many jobs of each rule a run has."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from clustersae.experiment.arms import PER_LAYER, SAE
from clustersae.experiment.params import has_clusters
from clustersae.experiment.plan import Plan
from clustersae.experiment.streaming import made
from clustersae.experiment.variants import BASE
from clustersae.experiment.windows import parts_of, windows_of


def jobs_of(settings: Mapping[str, Any], plan: Plan, pilots: Plan | None = None) -> dict[str, int]:
    """Rule → jobs of a run of everything, in the order in which they come.

    Left out are those that make tables, figures and reports, in seconds each and where Snakemake
    runs, and the training of a language model. Circuits are counted as if the model could do every
    task.

    Args:
        settings: complete, of one model.
        plan: what is trained; pilots: what is trained to settle it.
    """
    evaluation, browser = settings["evaluation"], settings["browser"]
    saes = {*plan.trained_saes, *(pilots.trained_saes if pilots else [])}
    evaluated = {*plan.evaluated_saes, *(pilots.evaluated_saes if pilots else [])}
    interpreted = plan.interpreted_arms
    browsed = plan.browsed_arms(browser["arms"])
    base = [(BASE, PER_LAYER)] if browser["arms"] else []
    n_tasks = len(evaluation["tasks"])
    jobs = {
        **_of_activations(settings),
        **_of_windows(settings, saes, len(plan.seeds)),
        "train_sae": len(saes) * len(plan.seeds),
        "evaluate_reconstruction": len(evaluated),
        "evaluate_language_model": 1,
        "evaluate_splice": len(plan.measured_arms),
        "evaluate_correspondence": len(plan.corresponding_arms),
        "evaluate_transfer": int(has_clusters(settings)),
        "assess_task": n_tasks,
        "evaluate_circuits": n_tasks * len(interpreted),
        "evaluate_residual_basis": n_tasks,
        "evaluate_features": len({*interpreted, *browsed, *base}),
        "judge_features": len(interpreted) if evaluation["judge"]["base_url"] else 0,
        "evaluate_probing": len(interpreted) if evaluation["probe_tokens"] else 0,
        "probe_activations": 1 if evaluation["probe_tokens"] else 0,
        "measure_cost": 1,
        "evaluate_directions": len(base),
        "build_browser": len(base),
        "write_neuronpedia": len(base) if browser["neuronpedia"] else 0,
        "export_saes": len(settings["exports"]["formats"]),
    }
    return {rule: number for rule, number in jobs.items() if number}


def _of_windows(settings: Mapping[str, Any], saes: Iterable[SAE], n_seeds: int) -> dict[str, int]:
    """What there is for each window where shards of training tokens do not stay."""
    windows = windows_of(settings["activations"])
    if windows is None or settings["activations"]["keep"]:
        return {}
    read = [list(parts_of(windows, settings["sae"], *sae)) for sae in saes]
    passing = made(windows, max(each[-1] for each in read))
    return {
        "cache_window": 0
        if settings["same_as"]
        else sum(len(windows.shards(window)) for window in passing),
        "train_sae_window": n_seeds * sum(len(each) - 1 for each in read),
    }


def _of_activations(settings: Mapping[str, Any]) -> dict[str, int]:
    """What comes before the SAEs; a model that is the `same_as` another takes it from there."""
    own = {"layer_distances": 1, "cluster_layers": 1}
    if settings["same_as"]:
        return own
    activations = settings["activations"]
    windows = None if activations["keep"] else windows_of(activations)
    n_shards = {
        split: math.ceil(n_tokens / activations["shard_tokens"])
        for split, n_tokens in activations["tokens"].items()
    }
    if windows:  # the rest pass by, see `_of_windows`
        n_shards["train"] = len(windows.shards(0))
    return {
        "import_model": 1,
        "tokenise_corpus": 0 if settings["trained"] else 1,
        "measure_norms": 1,
        "cache_activations": sum(n_shards.values()),
        "activation_statistics": 1,
        **own,
    }
