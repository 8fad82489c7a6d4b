"""Clustered sparse autoencoders: one SAE for every group of similar layers.

Nothing is imported here, so that each module costs only what it needs itself: training an SAE
imports torch but neither transformers nor Snakemake, and the figures import no torch.
"""

__version__ = "0.2.0"
