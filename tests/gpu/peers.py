"""One training step of other trainers of TopK SAEs, as their own loops make it.

Their packages import much that a step never calls (dashboards, remote execution, loggers). Where
such a package is absent an empty module takes its place; which ones did is recorded. A trainer that
cannot be imported all the same is left out, with the reason.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Packages that no training step calls.
UNUSED = ("wandb", "plotly", "plotly_express", "nltk", "babe", "nnsight", "zstandard")

#: What peers are timed with; their defaults differ, and no time depends on it.
RATE = 1e-4


class Contestant(NamedTuple):
    """A trainer's step on a batch [n, d_model], and x̂ of its SAE."""

    step: Callable[[Tensor], Any]
    reconstruct: Callable[[Tensor], Tensor]


#: Variants by name; nothing is on the device before one is made.
Makers = dict[str, Callable[[], Contestant]]


class Empty(ModuleType):
    """A module that has every name; each is a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Stand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self) -> None:
        self.used: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        package = name.partition(".")[0]
        if package not in UNUSED:
            return None
        self.used.add(package)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


@contextmanager
def empty_modules() -> Iterator[set[str]]:
    """While entered, absent packages of UNUSED can be imported; gives those that were."""
    stand = _Stand()
    sys.meta_path.append(stand)  # last: only what nobody else finds
    try:
        yield stand.used
    finally:
        sys.meta_path.remove(stand)


def sparsify(
    d_model: int, d_sae: int, k: int, batch: int, where: torch.device, rate: float = RATE
) -> Makers:
    """EleutherAI's, in bfloat16 by itself: with its own optimiser, and with Adam."""
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    def step_with(optimiser: str) -> Contestant:
        config = SparseCoderConfig(num_latents=d_sae, k=k)
        sae = SparseCoder(d_model, config, where, torch.float32)
        if optimiser == "adam":
            optimizer: Any = torch.optim.Adam(sae.parameters(), lr=rate)
        else:
            optimizer = ScheduleFreeWrapper(SignSGD(sae.parameters(), lr=rate), momentum=0.95)
            optimizer.train()
        silent_for = torch.zeros(d_sae, dtype=torch.long, device=where)

        def step(x: Tensor) -> None:
            sae.set_decoder_norm_to_unit_norm()
            out = sae(x, dead_mask=silent_for > 10_000_000)
            fired = torch.zeros(d_sae, dtype=torch.bool, device=where)
            fired[out.latent_indices.flatten()] = True
            (out.fvu + out.auxk_loss / 32).backward()
            sae.remove_gradient_parallel_to_decoder_directions()
            optimizer.step()
            optimizer.zero_grad()
            silent_for.add_(len(x))
            silent_for[fired] = 0

        return Contestant(step, lambda x: sae(x).sae_out)

    return {"signum": partial(step_with, "signum"), "adam": partial(step_with, "adam")}


def dictionary_learning(
    d_model: int, d_sae: int, k: int, batch: int, where: torch.device, rate: float = RATE
) -> Makers:
    """Its TopKTrainer, as it is and under the autocast that its demo uses."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    def step_in(dtype: torch.dtype | None) -> Contestant:
        trainer = TopKTrainer(
            steps=100_000, activation_dim=d_model, dict_size=d_sae, k=k, layer=0,
            lm_name="none", lr=rate, seed=0, device=str(where),
        )  # fmt: skip

        def step(x: Tensor) -> None:
            with torch.autocast(where.type, dtype, enabled=dtype is not None):
                trainer.update(1, x)

        return Contestant(step, trainer.ae)

    return {"float32": partial(step_in, None), "bfloat16": partial(step_in, torch.bfloat16)}


def sae_lens(
    d_model: int, d_sae: int, k: int, batch: int, where: torch.device, rate: float = RATE
) -> Makers:
    """SAELens' TopK: dense and sparse activations in float32, and dense ones under autocast."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    def step_of(sparse: bool, autocast: bool) -> Contestant:
        config = TopKTrainingSAEConfig(
            d_in=d_model, d_sae=d_sae, k=k, device=str(where), use_sparse_activations=sparse
        )
        settings = SAETrainerConfig(
            total_training_samples=batch * 100_000, train_batch_size_samples=batch,
            lr=rate, lr_end=rate,
            device=str(where), autocast=autocast, logger=LoggingConfig(log_to_wandb=False),
        )  # fmt: skip
        sae = TopKTrainingSAE(config).to(where)
        return Contestant(SAETrainer(settings, sae, iter(())).step, sae)

    return {
        "float32": partial(step_of, False, False),
        "sparse": partial(step_of, True, False),
        "bfloat16": partial(step_of, False, True),
    }


PEERS: dict[str, Callable[..., Makers]] = {
    "sparsify": sparsify,
    "dictionary_learning": dictionary_learning,
    "sae_lens": sae_lens,
}
#: Distributions that the versions are read of.
DISTRIBUTIONS = {
    "sparsify": "eai-sparsify",
    "dictionary_learning": "dictionary-learning",
    "sae_lens": "sae-lens",
}
