"""Clustered sparse autoencoders: one SAE for every group of similar layers.

    sae = clustersae.load("results/smollm2/saes/base/0-3/seed-0")
    run = clustersae.Run("results/smollm2")

Nothing else is imported here, and these only when they are used, so that each module costs only
what it needs itself: training an SAE imports torch but neither transformers nor Snakemake, and the
figures import no torch.
"""

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "load":
        from clustersae.sae.storage import load_sae

        return load_sae
    if name == "Run":
        from clustersae.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
