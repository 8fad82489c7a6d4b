"""The per-layer SAEs that an arm's SAEs are held against."""

from collections.abc import Iterable

import numpy as np
import torch

from clustersae.latents.groups import Trained
from clustersae.latents.sequences import Text
from clustersae.runtime.errors import InputError
from clustersae.sae.storage import load_sae

#: Latents count as live, here and in the arm, if they fire at one of every fourth token of a text.
#: Encoding all of it again for the baseline would take a fifth of the time of a whole arm.
LIVE_STEP = 4


class Baseline:
    """Decoder rows of per-layer SAEs, read when they are asked for.

    Args:
        saes: one per layer and seed.
        text: decides which latents are live: those that fire at one of its LIVE_STEP-th tokens.
    """

    def __init__(self, saes: Iterable[Trained], text: Text, where: torch.device) -> None:
        self._saes = {(sae.seed, layer): sae for sae in saes for layer in sae.layers}
        self._text, self._where = text.every(LIVE_STEP), where
        self._live: dict[tuple[int, int], np.ndarray] = {}

    def other_seed(self, seed: int) -> int:
        """The seed after `seed`, the first after the last; `seed` itself if it is the only one."""
        seeds = sorted({each for each, _ in self._saes})
        return next((each for each in seeds if each > seed), seeds[0])

    def live_rows(self, seed: int, layer: int) -> torch.Tensor:
        """Unit decoder rows of the live latents, [n_live, d_model].

        Raises:
            InputError: there is no such SAE.
        """
        if (seed, layer) not in self._saes:
            raise InputError(
                f"There is no per-layer SAE of layer {layer} with seed {seed} to compare with:"
                " train the per-layer arm with the seeds of the others."
            )
        sae = load_sae(self._saes[seed, layer].folder, self._where, self._text.fingerprint)
        if (seed, layer) not in self._live:
            self._live[seed, layer] = self._text.encode(sae, layer).live
        return torch.nn.functional.normalize(sae.W_dec, dim=1)[self._live[seed, layer]]
