"""How much memory the jobs of a rule ask for: what they need, once the model is known."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from clustersae.cost.forecast import forecast
from clustersae.cost.memory import PROCESS_BYTES
from clustersae.experiment.inputs import Inputs, Wildcards
from clustersae.experiment.params import growing
from clustersae.experiment.shape import described_shape
from clustersae.experiment.sources import GGUF
from clustersae.runtime.errors import InputError

#: What is asked for, over what the forecast says.
MARGIN = 1.25
#: Bytes of a model in float32, over those of its files: bfloat16, and quantised weights of 4 bits.
OF_FILES, OF_GGUF = 2, 8


class Memory:
    """Resource functions of the rules that hold a model or SAEs.

    Args:
        inputs: of the rules, which know the models.
        results: the folder of all models.
    """

    def __init__(self, inputs: Inputs, results: str | Path = "results") -> None:
        self._inputs, self._results = inputs, Path(results)
        self._of = lru_cache(maxsize=None)(self._forecast)

    def of(self, rule: str, least: int) -> Callable[[Wildcards, int], int]:
        """Megabytes of a job, doubled with every attempt.

        Args:
            rule: of `cost.memory.needed`.
            least: where that is less, and before the model has been imported. Snakemake asks again
                when the job's input is there.
        """

        def resource(wildcards: Wildcards, attempt: int) -> int:
            needed = self._needed(wildcards.model).get(rule, 0)
            return growing(_megabytes(needed, least))(wildcards, attempt)

        return resource

    def _needed(self, model: str) -> Mapping[str, int]:
        file = self._results / self._inputs.home(model) / "model" / "description.json"
        return self._of(model, file, file.stat().st_mtime_ns) if file.is_file() else {}

    def _forecast(self, model: str, description: Path, _changed: int) -> Mapping[str, int]:
        settings = self._inputs.models[model]
        try:
            return forecast(settings, described_shape(description, settings)).memory
        except InputError:  # of an earlier version, or other layers than it has: jobs say so
            return {}


def memory_of_import(least: int) -> Callable[[Wildcards, Any, int], int]:
    """Megabytes to import a model with, by the size of its files; of the Hub's, `least`."""

    def resource(wildcards: Wildcards, input: Any, attempt: int) -> int:
        model = sum(
            Path(name).stat().st_size * (OF_GGUF if name.endswith(GGUF) else OF_FILES)
            for name in [*input.files, *input.trained]
        )
        return growing(_megabytes(PROCESS_BYTES + model, least))(wildcards, attempt)

    return resource


def _megabytes(needed: int, least: int) -> int:
    return max(least, math.ceil(MARGIN * needed / 2**20))
