"""Uniform choices from a stream of random numbers."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar("Option")


class Chooser:
    """Uniform choices; each takes one `random()` of a numpy generator, a stable stream."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def one(self, options: Sequence[Option]) -> Option:
        return options[int(self._rng.random() * len(options))]

    def distinct(self, options: Sequence[Option], n: int) -> list[Option]:
        chosen: list[Option] = []
        while len(chosen) < n:
            option = self.one(options)
            if option not in chosen:
                chosen.append(option)
        return chosen
