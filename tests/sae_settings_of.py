"""Settings of SAEs: tests and benchmarks name those that matter to them, the rest stands here."""

from typing import Any

from clustersae.experiment.sae_settings import SAESettings

_SETTINGS: dict[str, Any] = {
    **{"architecture": "topk", "n_steps": 1, "batch_size": 1, "learning_rate": 1e-3},
    **{"warmup_steps": 0, "decay_steps": 0, "auxk_alpha": 1 / 32, "dead_after": 10_000_000},
    **{"max_grad_norm": 1.0, "seed": 0},
}
_SECTION: dict[str, Any] = {
    **{"architecture": "topk", "d_sae": None, "expansion_factor": 8, "sparsity": None},
    **{"prefixes": None, "batch_size": 128, "min_steps": 0, "learning_rate": None},
    **{"warmup_fraction": 0.1, "decay_fraction": 0.2, "auxk_alpha": 1 / 32, "dead_after": 500},
    **{"max_dead": 1.0, "max_grad_norm": 1.0, "normalisation": "scale"},
}


def topk_settings(d_sae: int, k: int, **changes: Any) -> SAESettings:
    """Of one SAE; without changes, one step in which no latent is dead."""
    return SAESettings(d_sae=d_sae, k=k, **(_SETTINGS | changes))


def sae_section(k: int, training_tokens: int, **changes: Any) -> dict[str, Any]:
    """The section `sae` of a configuration, complete but for what specialised SAEs have."""
    return {**_SECTION, "k": k, "training_tokens": training_tokens, **changes}
