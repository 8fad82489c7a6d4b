"""How fast one job of this machine is, tried for a second."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from clustersae.cost.rates import Rates
from clustersae.experiment.sae_settings import resolve
from clustersae.runtime.machine import Machine
from clustersae.sae.registry import create
from clustersae.sae.training import Trainer
from clustersae.setup.facts import ModelFacts

#: For how long each rate is measured.
MEASURED_SECONDS = 0.5


def measure_rates(settings: Mapping[str, Any], model: ModelFacts, machine: Machine) -> Rates:
    """Operations per second of training steps on random numbers, and of a model's matrix products.

    On one thread, as jobs have; or on the GPU.
    """
    where = torch.device("cuda" if machine.gpu else "cpu")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(action="ignore"):  # sparse tensors are called beta
            training = _training_rate(settings["sae"], model, where)
        return Rates(_product_rate(model, where), training, "as tried for a second here")
    finally:
        torch.set_num_threads(n_threads)


def _training_rate(sae: Mapping[str, Any], model: ModelFacts, where: torch.device) -> float:
    own = resolve(sae, "base", 1, model.d_model, seed=0)
    d_model = model.d_model
    module = create(asdict(own), (0,), torch.zeros(1, d_model), torch.ones(1))
    module.initialise(torch.Generator().manual_seed(0))
    trainer = Trainer(module.to(where), own)
    batch = torch.randn(own.batch_size, d_model, device=where)
    per_step = own.total_flops(d_model) / own.n_steps
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
