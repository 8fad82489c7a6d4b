"""What a configuration will cost: SAEs, tokens, operations, disk, memory and, roughly, time."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from clustersae.clustering.tabulate import tabulate_partitions
from clustersae.experiment.arms import SAE
from clustersae.experiment.clusters import layers_of
from clustersae.experiment.layers import studied_layers
from clustersae.experiment.plan import Plan, make_plan
from clustersae.experiment.sae_settings import SAESettings, learning_rates, resolve
from clustersae.sae.registry import create
from clustersae.sae.training import Trainer
from clustersae.setup.facts import Machine, ModelFacts

#: For how long each rate is measured.
MEASURED_SECONDS = 0.5
#: Everything after caching and training, over these two, in the recorded runs of the demo and of
#: SmolLM2, circuits left out: sums of results/benchmarks.
MEASUREMENTS = (0.3, 0.6)
#: To start a training job: in the demo, what its 93 took beyond training, for each.
JOB_SECONDS = 2.0


class ArmCost(NamedTuple):
    """An arm: SAEs that serve its layers, those it trains, and activations of one seed."""

    name: str
    n_saes: int
    n_trained: int
    activations: int


class Rates(NamedTuple):
    """Operations per second of one job: in training steps, and in a model's matrix products."""

    training: float
    products: float


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
        arms: of the plan.
        n_saes: that are trained for each seed; arms share some.
        n_seeds: of each.
        activations: of all trainings, seeds and trials of learning rates included.
        flops: of these, as `experiment.flops` counts them, the optimiser's left out.
        caching_flops: two for every weight of the blocks and every cached token.
        cache_bytes, job_bytes: on disk, and in the memory of the largest job of caching or
            training.
    """

    arms: tuple[ArmCost, ...]
    n_saes: int
    n_seeds: int
    activations: int
    flops: float
    caching_flops: float
    cache_bytes: int
    job_bytes: int

    def seconds(self, rates: Rates, n_jobs: int) -> tuple[float, float]:
        """Of caching and of training, `n_jobs` at once."""
        training = self.flops / rates.training + JOB_SECONDS * self.n_saes * self.n_seeds
        return self.caching_flops / rates.products / n_jobs, training / n_jobs


def estimate(settings: Mapping[str, Any], model: ModelFacts) -> Cost:
    """What an experiment without pilots (`arms.auto`) takes.

    Layers are clustered as if only neighbours were alike: which layers share an SAE decides little
    of what it costs.

    Args:
        settings: complete, of one model.
    """
    layers = studied_layers(settings["activations"]["layers"], model.n_layers)
    plan = _plan(settings, layers)
    sae, tokens = settings["sae"], sum(settings["activations"]["tokens"].values())
    resolved = {each: _settings(sae, each, model.d_model) for each in plan.trained_saes}
    activations, flops = 0, 0.0
    for each, own in resolved.items():
        # All learning rates with the first seed, the best of them with the others.
        n_trainings = len(learning_rates(sae, each[0])) + len(plan.seeds) - 1
        activations += n_trainings * _activations(own)
        flops += n_trainings * float(_activations(own) * own.flops(model.d_model))
    number_bytes = 4 if settings["activations"]["dtype"] == "float32" else 2
    shard = min(settings["activations"]["shard_tokens"], tokens) * len(layers) * model.d_model
    block_weights = 12 * model.d_model**2  # attention 4, MLP 8; others come near it
    weights = model.n_layers * block_weights + model.vocab_size * model.d_model
    widest = max(own.d_sae for own in resolved.values())
    return Cost(
        arms=tuple(_arm_cost(arm.name, arm.count, arm.trained, resolved) for arm in plan.arms),
        n_saes=len(resolved),
        n_seeds=len(plan.seeds),
        activations=activations,
        flops=flops,
        caching_flops=2.0 * model.n_layers * block_weights * tokens,
        cache_bytes=tokens * len(layers) * model.d_model * number_bytes,
        # Weights of the model and a shard; or an SAE, its gradients and two moments.
        job_bytes=max(4 * weights + shard * number_bytes, 4 * 4 * 2 * widest * model.d_model),
    )


def _plan(settings: Mapping[str, Any], layers: tuple[int, ...]) -> Plan:
    arms, places = settings["arms"], np.array(layers, dtype=float)
    description = tabulate_partitions(
        np.abs(places[:, None] - places) / max(1.0, np.ptp(places)),
        layers,
        "distance in layers",
        arms["shared"]["methods"],
        arms["controls"]["methods"],
        arms["controls"]["draws"],
        seed=0,
    )
    return make_plan(description, settings)


def _settings(sae: Mapping[str, Any], each: SAE, d_model: int) -> SAESettings:
    variant, name = each
    return resolve(sae, variant, len(layers_of(name)), d_model, seed=0)


def _activations(own: SAESettings) -> int:
    return own.n_steps * own.batch_size


def _arm_cost(
    name: str, count: int, trained: Iterable[SAE], resolved: Mapping[SAE, SAESettings]
) -> ArmCost:
    own = [resolved[each] for each in trained]
    return ArmCost(name, count, len(own), sum(map(_activations, own)))


def measure_rates(settings: Mapping[str, Any], model: ModelFacts, machine: Machine) -> Rates:
    """How fast one job of this machine is, tried for a second on random numbers.

    On one thread, as jobs have; or on the GPU.
    """
    where = torch.device("cuda" if machine.gpu else "cpu")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(action="ignore"):  # sparse tensors are called beta
            training = _training_rate(settings["sae"], model, where)
        return Rates(training, _product_rate(model, where))
    finally:
        torch.set_num_threads(n_threads)


def _training_rate(sae: Mapping[str, Any], model: ModelFacts, where: torch.device) -> float:
    own = resolve(sae, "base", 1, model.d_model, seed=0)
    d_model = model.d_model
    module = create(asdict(own), (0,), torch.zeros(1, d_model), torch.ones(1))
    module.initialise(torch.Generator().manual_seed(0))
    trainer = Trainer(module.to(where), own)
    batch = torch.randn(own.batch_size, d_model, device=where)
    per_step = own.batch_size * own.flops(d_model)
    return per_step * _per_second(lambda: trainer.step(batch), where)


def _product_rate(model: ModelFacts, where: torch.device) -> float:
    n_rows, d_model = 1024, model.d_model
    x = torch.randn(n_rows, d_model, device=where)
    weight = torch.randn(d_model, 4 * d_model, device=where)
    return 2 * n_rows * 4 * d_model**2 * _per_second(lambda: x @ weight, where)


def _per_second(step: Callable[[], object], where: torch.device) -> float:
    """Calls of `step` per second; the first, which sets things up, does not count."""
    step()
    _wait(where)
    started, n_calls = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < MEASURED_SECONDS or not n_calls:
        step()
        _wait(where)
        n_calls += 1
    return n_calls / seconds


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize()
