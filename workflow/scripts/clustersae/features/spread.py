"""On which layers a latent is active: Lawson et al. 2024 (MLSAE), arXiv:2409.04185.

A latent's activations z are in units of each layer's own scale, so layers weigh alike.

    P(layer | latent)         from activation summed over tokens
    entropy                   of that, in nat; its exponential is the effective number of layers
    over-token variance       of the layer index under P(layer | latent)
    within-token variance     of the layer index under z_l / Σ_l z_l at one token, averaged over
                              the tokens at which the latent is active on at least one layer, each
                              of them counting the same

Their code averages the second kind of variance over inactive tokens too and does not renormalise
the distribution of a token; here it is conditional on activity, as they define it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

#: Tokens of all layers that are looked at together.
CHUNK_TOKENS = 4096


class Spread(NamedTuple):
    """Of every latent of a group; NaN for what is not defined."""

    layers: np.ndarray  # int [n_layers]
    p_layer: np.ndarray  # [n_layers, d_sae]; NaN for dead latents
    firing_rate: np.ndarray  # [n_layers, d_sae], share of tokens
    mean_activation: np.ndarray  # [n_layers, d_sae], when active; NaN where never active
    within_token_variance: np.ndarray  # [d_sae]; NaN for dead latents or one layer

    @property
    def entropy(self) -> np.ndarray:
        """[d_sae], in nat."""
        logs = np.log(np.where(self.p_layer > 0, self.p_layer, 1))
        return np.abs(-(self.p_layer * logs).sum(0))

    @property
    def over_token_variance(self) -> np.ndarray:
        """[d_sae]; NaN for dead latents or one layer."""
        if len(self.layers) == 1:
            return np.full(self.p_layer.shape[1], np.nan)
        mean = self.layers @ self.p_layer
        return ((self.layers[:, None] - mean) ** 2 * self.p_layer).sum(0)


def layer_spread(activations: Mapping[int, sparse.csr_array]) -> Spread:
    """The spread of a group's latents over its layers.

    Args:
        activations: by layer, [n_tokens, d_sae] with positive entries alone, tokens aligned.
    """
    n_tokens = next(iter(activations.values())).shape[0]
    totals = np.stack([each.sum(0, dtype=np.float64) for each in activations.values()])
    fired = np.stack([np.bincount(each.indices, minlength=each.shape[1])
                      for each in activations.values()])  # fmt: skip
    return Spread(
        np.array(list(activations)),
        _ratio(totals, totals.sum(0)),
        fired / n_tokens,
        _ratio(totals, fired),
        _within_token_variance(activations),
    )


def _within_token_variance(activations: Mapping[int, sparse.csr_array]) -> np.ndarray:
    n_tokens, d_sae = next(iter(activations.values())).shape
    if len(activations) == 1:
        return np.full(d_sae, np.nan)
    first = min(activations)
    totals, counts = np.zeros(d_sae), np.zeros(d_sae)
    for start in range(0, n_tokens, CHUNK_TOKENS):
        parts = {layer: each[start : start + CHUNK_TOKENS].astype(np.float64)
                 for layer, each in activations.items()}  # fmt: skip
        # Layers count from 1: a weight of 0 would make an entry vanish, and the three sums must
        # have theirs at the same places. Where they begin is nothing to a variance.
        mass, moment, square = (
            sum(part * float(layer - first + 1) ** power for layer, part in parts.items())
            for power in range(3)
        )
        variance = square.data / mass.data - (moment.data / mass.data) ** 2
        totals += np.bincount(mass.indices, variance.clip(0), d_sae)
        counts += np.bincount(mass.indices, minlength=d_sae)
    return _ratio(totals, counts)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient, NaN where nothing was counted."""
    undefined = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def latent_table(spread: Spread) -> pd.DataFrame:
    """One row per latent: what latents.parquet says of a group."""
    return pd.DataFrame(
        {
            "n_layers": len(spread.layers),
            "latent": np.arange(spread.p_layer.shape[1], dtype=np.int32),
            "firing_rate": spread.firing_rate.mean(0),
            "entropy": spread.entropy,
            "effective_layers": np.exp(spread.entropy),
            "within_token_variance": spread.within_token_variance,
            "over_token_variance": spread.over_token_variance,
        }
    )


def layer_table(spread: Spread) -> pd.DataFrame:
    """One row per latent and layer: what layers.parquet says of a group."""
    n_layers, d_sae = spread.p_layer.shape
    return pd.DataFrame(
        {
            "latent": np.repeat(np.arange(d_sae, dtype=np.int32), n_layers),
            "layer": np.tile(spread.layers, d_sae),
            "p_layer": spread.p_layer.T.ravel(),
            "firing_rate": spread.firing_rate.T.ravel(),
            "mean_activation": spread.mean_activation.T.ravel(),
        }
    )
