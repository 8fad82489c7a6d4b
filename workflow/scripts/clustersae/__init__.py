"""Clustered sparse autoencoders: one SAE for every group of similar layers.

    sae = clustersae.load("results/smollm2/saes/base/0-3/seed-0")
    run = clustersae.Run("results/smollm2")

Nothing else is imported here, and these only when they are used, so that each module costs only
what it needs itself: training an SAE imports torch but neither transformers nor Snakemake, and the
figures import no torch. Their types stand in __init__.pyi.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# By name: what is imported here takes part in the digest of every rule.
_PUBLIC = {"load": ("clustersae.sae.storage", "load_sae"), "Run": ("clustersae.run", "Run")}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
