"""An SAE of any architecture in which every parameter and threshold has been moved."""

from dataclasses import asdict, replace

import torch
from sae_settings_of import topk_settings

from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.registry import create

SETTINGS = topk_settings(20, 4, auxk_alpha=0.0, dead_after=1)
#: Weights that leave about three latents active where three are.
SPARSITY = {"jumprelu": 1.0, "relu": 2.0, "gated": 2.0}


def settings_of(name: str, given: SAESettings = SETTINGS, **change) -> SAESettings:
    """The settings `given`, of another architecture."""
    d_sae = change.get("d_sae", given.d_sae)
    prefixes = (d_sae // 4, d_sae // 2) if name == "matryoshka" else ()
    sparsity = SPARSITY.get(name, 0.0)
    return replace(given, architecture=name, sparsity=sparsity, prefixes=prefixes, **change)


def moved_sae(
    name: str, layers=(1, 2, 5), scale=(0.1, 1.0, 30.0), d_model=6, **change
) -> SparseAutoencoder:
    """Of layers of different mean and scale, with biases that matter."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(len(layers), d_model, generator=generator) * 10
    settings = settings_of(name, **change)
    sae = create(asdict(settings), layers, mean, torch.tensor(scale[: len(layers)]))
    sae.initialise(generator)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        if hasattr(sae, "threshold"):
            random = torch.rand(sae.threshold.shape, generator=generator)
            sae.threshold.copy_(0.2 + 0.5 * random)
        if sae.unit_rows:
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
    return sae
