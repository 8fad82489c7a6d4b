"""What processes do that train one SAE together; they import it."""

import os
import sys
import time
from collections.abc import Sequence

import torch

from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.together import Together, together_on
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import EagerStep
from clustersae.sae.sharded import ShardedTrainer
from clustersae.sae.training import Trainer

CPU = torch.device("cpu")
D_MODEL = 16


def batch(step: int, n: int = 128) -> torch.Tensor:
    """Of few directions, so that many latents find nothing to do."""
    generator = torch.Generator().manual_seed(step)
    directions = torch.randn(6, D_MODEL, generator=torch.Generator().manual_seed(99))
    return torch.randn(n, 6, generator=generator).relu() @ directions


def trained(
    settings: SAESettings,
    steps: range,
    state: dict[str, torch.Tensor] | None = None,
    where: torch.device = CPU,
    together: Together | None = None,
) -> Trainer:
    sae = TopK((0,), settings.d_sae, settings.k, torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(settings.seed))
    if together:
        trainer: Trainer = ShardedTrainer(sae, settings, where, together)
    else:
        trainer = Trainer(sae, settings, EagerStep)
    if state:
        trainer.load_state(state)
    for step in steps:
        trainer.step(batch(step))
    return trainer


def outcome(*arguments, **others) -> tuple[dict[str, torch.Tensor], dict]:
    """State and metrics at the end."""
    trainer = trained(*arguments, **others)
    return trainer.state(), trainer.metrics()


def outcomes(cases: Sequence[tuple], **others) -> list[tuple[dict[str, torch.Tensor], dict]]:
    """Of several trainings, one after the other."""
    return [outcome(*case, **others) for case in cases]


def others_die(where: torch.device, together: Together) -> None:
    if together.rank:
        os._exit(3)
    time.sleep(120)


if __name__ == "__main__":  # with others that die
    with together_on([CPU, CPU], others_die) as everybody:
        others_die(CPU, everybody)
    sys.exit("the others' end was not noticed")
